"""Evaluation: the answers of nets, and what they are worth."""
