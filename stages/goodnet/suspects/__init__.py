"""Suspects: which classes an attacker wants, found from clean images alone."""
