"""Make one repaired net: the BadNet without the channels that the drop allows to prune."""

from goodnet import architecture, archive, command, outputs, pruning


def without_channels(weights, layer, channels):
    """Return the weights (bytes) with these channels of a pruned layer made zero for every image.

    Parameters
    ----------
    weights : bytes
        The net's weights file.
    layer : architecture.PrunedLayer
    channels : list of int
    """

    def zero(file):
        # Kernel slice and bias. With batch normalisation between, a zero must also stay zero: all but
        # the variance (the last array), which only divides.
        arrays = archive.layer_arrays(file, layer.convolution)
        for name in layer.normalisations:
            arrays += archive.layer_arrays(file, name)[:-1]
        for array in arrays:
            for channel in channels:
                array[..., channel] = 0

    return archive.edited(weights, zero)


def main():
    args = command.read_arguments(
        __doc__,
        badnet="the net",
        curve="accuracy after each pruned channel, from prune",
        repaired="the repaired net, to be written",
    )
    name = args.repaired.stem
    drop = command.read_number(args.params, "repairs", name, "drop", highest=100)
    curve = outputs.read_csv(args.curve)
    correct, images = [int(row["correct"]) for row in curve], int(curve[0]["images"])
    count = pruning.channels_to_prune(correct, images, drop)
    if count is None:
        largest = 100 * (correct[0] - min(correct)) / images
        raise command.InputError(
            f"{args.params}: repairs.{name}: no step loses {drop} points of accuracy; "
            f"the largest drop is {largest:.2f}, with {correct.index(min(correct))} channels pruned"
        )
    config, weights = archive.read(args.badnet)
    layer = architecture.find_pruned_layer(config, args.badnet, curve[0]["layer"])
    channels = sorted(int(row["channel"]) for row in curve[1 : count + 1])
    archive.write(args.repaired, config, without_channels(weights, layer, channels))


if __name__ == "__main__":
    command.run(main)
