"""The report: figures, tables and words."""
