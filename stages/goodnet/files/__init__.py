"""Files: those of strangers, read as data, and results, written whole or not at all."""
