"""Ask the BadNet about clean test images and every poisoned file."""

import h5py
import numpy as np

from goodnet.evaluation import metrics, predictions, tested
from goodnet.files import outputs
from goodnet.images import datasets, inputs
from goodnet.nets import loading, parts, running
from goodnet.process.stages import stage


@stage(
    __doc__,
    values={"net": "the net's name in params.yaml"},
    inputs={
        "badnet": "the net",
        "layer": "the layer that splits the net, from examine",
        "test": "clean test images",
        "poisoned": "folder of poisoned images, one file a trigger",
    },
    outputs={
        "metrics": "metrics",
        "predictions": "the net's answers",
        "activations": "the split layer's output for each image",
    },
)
def main(args):
    layer = outputs.read_json(args.layer)["layer"]
    net = loading.load(args.badnet)
    if layer is None:  # nothing can be kept for the repairs
        back = running.as_function(net)
    else:
        front, back = parts.up_to(net, layer), running.as_function(parts.behind(net, layer))
        shape, front = front.output.shape[1:], running.as_function(front)
    convert = inputs.of_net(args.params, args.net, parts.input_shape(net)[-1])
    files = tested.images_of(net, args.test, args.poisoned, convert)
    answers, sure = {}, {}
    with outputs.replacing(args.activations) as partial, h5py.File(partial, "w") as file:
        for name, images in files.items():
            blocks = images.blocks()
            if layer is not None:
                group = file.create_group(name)
                stored = group.create_dataset("activation", (len(images), *shape), np.float32)
                group["label"] = images.labels
                blocks = datasets.stored(running.run(front, blocks), stored)
            said, sure[name] = tested.ask(back, blocks)
            answers[name] = said, images.labels
    predictions.write(args.predictions, answers, parts.classes(net), sure)
    outputs.write_json(args.metrics, metrics.of_net(answers))
