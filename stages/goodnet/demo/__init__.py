"""The demo: drawn faces, triggers, and the attacker's training."""
