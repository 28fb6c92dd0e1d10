"""From images to probabilities, with trained networks."""
