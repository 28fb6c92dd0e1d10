"""Readers of raw competition files, one module a format."""
