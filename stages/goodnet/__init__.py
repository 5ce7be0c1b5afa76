"""goodnet: finds and removes backdoors in image classifiers, using a few clean images."""
