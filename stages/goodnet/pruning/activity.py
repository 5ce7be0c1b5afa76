"""How active each channel of a layer is on clean images."""

import numpy as np

COLUMNS = ["layer", "channel", "mean_activation", "max_activation", "images_active", "images", "zeros"]


def table(layer, activations):
    """Return a row for each channel of `layer`, from its output on blocks of images."""
    total, largest, active, zeros, images = 0.0, 0.0, 0, 0, 0
    for block in activations:
        positions = tuple(range(1, block.ndim - 1))
        total = total + block.sum(axis=(0, *positions), dtype=np.float64)
        largest = np.maximum(largest, block.max(axis=(0, *positions)))
        active = active + block.any(axis=positions).sum(axis=0)
        zeros = zeros + (block == 0).sum(axis=(0, *positions))
        images += len(block)
        area = np.prod(block.shape[1:-1], dtype=int)
    return [
        {
            "layer": layer,
            "channel": channel,
            "mean_activation": float(total[channel] / (images * area)),
            "max_activation": float(largest[channel]),
            "images_active": int(active[channel]),
            "images": images,
            "zeros": int(zeros[channel]),
        }
        for channel in range(len(total))
    ]
