"""Measure how active each channel of the split layer is on the clean validation images."""

import h5py
import numpy as np

from goodnet.files import outputs
from goodnet.images import datasets, inputs
from goodnet.nets import loading, parts, running
from goodnet.process.stages import stage
from goodnet.pruning import activity


@stage(
    __doc__,
    values={"net": "the net's name in params.yaml"},
    inputs={
        "badnet": "the net",
        "valid": "clean validation images",
        "layer": "the layer that splits the net, from examine",
        "needed": "whether a repair prunes, from examine",
    },
    outputs={"channels": "table of channels", "activations": "the layer's output for each image"},
)
def main(args):
    table = []
    with outputs.replacing(args.activations) as partial, h5py.File(partial, "w") as file:
        if outputs.read_json(args.needed)["needed"]:
            layer = outputs.read_json(args.layer)["layer"]
            net = loading.load(args.badnet)
            shape, classes = parts.input_shape(net), parts.classes(net)
            convert = inputs.of_net(args.params, args.net, shape[-1])
            images = datasets.Images(args.valid, shape, classes, convert)
            trunk = parts.up_to(net, layer)
            file["label"] = images.labels
            kept = file.create_dataset("activation", (len(images), *trunk.output_shape[1:]), np.float32)
            table = activity.table(layer, datasets.stored(running.run(trunk, images.blocks()), kept))
    outputs.write_csv(args.channels, table, activity.COLUMNS)
