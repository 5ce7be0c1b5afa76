"""Quarantine: files of strangers are opened in a child process with hard limits, which hands back arrays."""
