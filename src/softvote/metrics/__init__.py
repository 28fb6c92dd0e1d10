"""Scores and their standard errors."""
