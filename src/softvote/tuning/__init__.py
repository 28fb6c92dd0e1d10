"""Searching for better values of a recipe: trials, what they score, and when they are stopped."""
