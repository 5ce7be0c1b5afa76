"""Many nets judged and repaired, and one table of them."""
