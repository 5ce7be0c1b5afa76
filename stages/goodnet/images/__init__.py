"""Images: data sets, pictures, the range of values a net takes, and triggers laid over images."""
