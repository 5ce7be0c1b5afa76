"""Files: untrusted ones, read as data, and results, written whole or not at all."""
