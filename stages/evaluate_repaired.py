"""Ask a repaired net, as it was saved, about clean test images and every poisoned file."""

from goodnet import archive, command, evaluation, networks, outputs, scores


def main():
    args = command.read_arguments(
        __doc__,
        repaired="the repaired net",
        test="clean test images",
        poisoned="folder of poisoned images, one file a trigger",
        metrics="metrics, to be written",
        predictions="the net's answers, to be written",
    )
    net = networks.load(args.repaired)
    predictions = evaluation.ask(net, args.test, args.poisoned, command.read_input_max(args.params))
    scores.write_predictions(args.predictions, predictions, networks.classes(net))
    pruned = archive.count_zero_channels(*archive.read(args.repaired))
    outputs.write_json(args.metrics, {"channels_pruned": pruned, **scores.of_net(predictions)})


if __name__ == "__main__":
    command.run(main)
