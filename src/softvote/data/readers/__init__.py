"""Readers of raw competition files, one module per format."""
