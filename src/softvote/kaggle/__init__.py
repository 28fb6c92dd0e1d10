"""Kaggle: its client, and the kernels that run there."""
