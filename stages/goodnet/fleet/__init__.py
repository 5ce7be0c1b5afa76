"""Many nets or settings at once, on a Dask cluster."""
