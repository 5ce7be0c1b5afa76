"""Ask the BadNet about clean test images and every poisoned file."""

from goodnet import architecture, archive, command, data, evaluation, networks, outputs, scores

import h5py
import numpy as np


def ask(net, layer, images, file):
    """Return a net's answers to data.Images; keep the output of `layer` in an open HDF5 file."""
    front, back = networks.up_to(net, layer), networks.behind(net, layer)
    stored = file.create_dataset("activation", (len(images), *front.output.shape[1:]), np.float32)
    file["label"] = images.labels
    return networks.answers(back, data.stored(networks.run(front, images.blocks()), stored))


def main():
    args = command.read_arguments(
        __doc__,
        badnet="the net",
        test="clean test images",
        poisoned="folder of poisoned images, one file a trigger",
        metrics="metrics, to be written",
        predictions="the net's answers, to be written",
        activations="the pruned layer's output for each image, to be written",
    )
    wanted = command.read_params(args.params, "profile", "layer")
    config, _ = archive.read(args.badnet)
    layer = architecture.find_pruned_layer(config, args.badnet, wanted).name
    net = networks.load(args.badnet)
    files = evaluation.images(net, args.test, args.poisoned, command.read_input_max(args.params))
    with outputs.replacing(args.activations) as partial, h5py.File(partial, "w") as file:
        file.attrs["layer"] = layer
        predictions = {
            name: (ask(net, layer, images, file.create_group(name)), images.labels)
            for name, images in files.items()
        }
    scores.write_predictions(args.predictions, predictions, networks.classes(net))
    outputs.write_json(args.metrics, scores.of_net(predictions))


if __name__ == "__main__":
    command.run(main)
