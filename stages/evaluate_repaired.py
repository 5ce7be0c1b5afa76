"""Ask a repaired net, as it was saved, about the test images; join it with the BadNet to a GoodNet."""

from goodnet import architecture, archive, command, data, evaluation, goodnets, networks, outputs, scores

import h5py


def main():
    args = command.read_arguments(
        __doc__,
        badnet="the net before its repair",
        repaired="the repaired net",
        test="clean test images",
        poisoned="folder of poisoned images, one file a trigger",
        activations="the BadNet's output of the pruned layer for each image, from evaluate_badnet",
        metrics="metrics, to be written",
        predictions="the net's answers, to be written",
        goodnet="the GoodNet, to be written",
    )
    config, weights = archive.read(args.repaired)
    badnet, repaired = networks.load(args.badnet), networks.load(args.repaired)
    files = evaluation.images(repaired, args.test, args.poisoned, command.read_input_max(args.params))
    with h5py.File(args.activations) as activations:
        pruned = architecture.find_pruned_layer(config, args.repaired, activations.attrs["layer"])
        left = goodnets.channels_left(badnet, repaired, pruned)
        if left is None:
            net, blocks = repaired, {name: images.blocks() for name, images in files.items()}
        else:  # what comes before the pruned layer's channels has been computed, for the BadNet
            net = networks.behind(repaired, pruned.name)
            blocks = {
                name: (block * left for block in data.row_blocks(group["activation"]))
                for name, group in activations.items()
            }
        predictions = {
            name: (networks.answers(net, blocks[name]), images.labels) for name, images in files.items()
        }
    scores.write_predictions(args.predictions, predictions, networks.classes(repaired))
    networks.save(goodnets.build(badnet, repaired, pruned.name, left), args.goodnet)
    zeroed = archive.count_zero_channels(config, weights)
    outputs.write_json(args.metrics, {"channels_pruned": zeroed, **scores.of_net(predictions)})


if __name__ == "__main__":
    command.run(main)
