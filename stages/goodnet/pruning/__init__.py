"""Pruning: which channels, in which order, how far, and what accuracy is left."""
