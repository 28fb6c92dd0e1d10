"""What Python programs and notebooks call; `softvote` itself names all of it."""
