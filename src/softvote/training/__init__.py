"""From images to trained networks."""
