"""Measure how active each channel of the pruned layer is on the clean validation images."""

from goodnet import architecture, archive, command, data, networks, outputs

import h5py
import numpy as np


def channel_table(layer, activations):
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


def main():
    args = command.read_arguments(
        __doc__,
        badnet="the net",
        valid="clean validation images",
        channels="table of channels, to be written",
        activations="the layer's output for each image, to be written",
    )
    wanted = command.read_params(args.params, "profile", "layer")
    config, _ = archive.read(args.badnet)
    layer = architecture.find_pruned_layer(config, args.badnet, wanted).name
    net = networks.load(args.badnet)
    images = data.Images(
        args.valid, networks.input_shape(net), networks.classes(net), command.read_input_max(args.params)
    )
    trunk = networks.up_to(net, layer)

    with outputs.replacing(args.activations) as partial, h5py.File(partial, "w") as file:
        file["label"] = images.labels
        kept = file.create_dataset("activation", (len(images), *trunk.output_shape[1:]), np.float32)
        table = channel_table(layer, data.stored(networks.run(trunk, images.blocks()), kept))
    outputs.write_csv(args.channels, table)


if __name__ == "__main__":
    command.run(main)
