"""Repairs: what `repairs` in params.yaml asks for, and the tunings."""
