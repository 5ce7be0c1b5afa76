"""Rankings: in which order channels are pruned."""
