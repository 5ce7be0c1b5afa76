"""Ask a repaired net, as it was saved, about the test images; join it with the BadNet to a GoodNet."""

import h5py

from goodnet.evaluation import metrics, predictions, tested
from goodnet.files import archive, outputs
from goodnet.images import datasets, inputs
from goodnet.nets import goodnets, loading, parts, running
from goodnet.process.stages import stage
from goodnet.pruning import channels


@stage(
    __doc__,
    values={"net": "the net's name in params.yaml"},
    inputs={
        "badnet": "the net before its repair",
        "repaired": "the repaired net",
        "test": "clean test images",
        "poisoned": "folder of poisoned images, one file a trigger",
        "layer": "the layer that splits the net, from examine",
        "activations": "the BadNet's output of the split layer for each image, from evaluate_badnet",
    },
    outputs={"metrics": "metrics", "predictions": "the net's answers", "goodnet": "the GoodNet"},
)
def main(args):
    config, weights = archive.read(args.repaired)
    badnet, repaired = loading.load(args.badnet), loading.load(args.repaired)
    convert = inputs.of_net(args.params, args.net, parts.input_shape(badnet)[-1])
    files = tested.images_of(repaired, args.test, args.poisoned, convert)
    with h5py.File(args.activations) as activations:
        layer, left = outputs.read_json(args.layer)["layer"], None
        if layer is not None:
            pruned = channels.find(config, args.repaired, layer)
            left = goodnets.channels_left(badnet, repaired, layer, pruned)
        if left is None:
            net, blocks = repaired, {name: images.blocks() for name, images in files.items()}
        else:  # what comes before the split layer's channels has been computed, for the BadNet
            net = parts.behind(repaired, layer)
            blocks = {
                name: (block * left for block in datasets.row_blocks(group["activation"]))
                for name, group in activations.items()
            }
        ask = running.as_function(net)
        told = {name: tested.ask(ask, blocks[name]) for name in files}
    answers = {name: (told[name][0], images.labels) for name, images in files.items()}
    sure = {name: percents for name, (_, percents) in told.items()}
    predictions.write(args.predictions, answers, parts.classes(repaired), sure)
    loading.save(goodnets.build(badnet, repaired, layer, left), args.goodnet)
    zeroed = channels.count_zero_channels(config, weights)
    outputs.write_json(args.metrics, {"channels_pruned": zeroed, **metrics.of_net(answers)})
