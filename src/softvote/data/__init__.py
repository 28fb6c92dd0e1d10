"""From raw competition files to images, labels and folds."""
