"""Rank the channels of the pruned layer: the order in which they are pruned."""

from goodnet import architecture, archive, command, data, outputs, rankings

import numpy as np


def ranking(scores, layer):
    """Return a row for each channel, the first to be pruned first; ties go by channel number."""
    order = np.argsort(scores, kind="stable")
    return [{"layer": layer, "channel": int(channel), "score": scores[channel].item()} for channel in order]


def main():
    args = command.read_arguments(
        __doc__,
        badnet="the net",
        valid="clean validation images",
        channels="table of channels, from profile",
        ranking="the channels in the order they are pruned, to be written",
    )
    order = command.read_params(args.params, "prune", "order")
    if order not in rankings.ORDERS:
        raise command.InputError(
            f"{args.params}: prune.order is {order!r}; it can be {', '.join(rankings.ORDERS)}"
        )
    settings = command.read_settings(args.params, "rankings", order, **rankings.SETTINGS.get(order, {}))
    table = outputs.read_csv(args.channels)
    config, weights = archive.read(args.badnet)
    layer = architecture.find_pruned_layer(config, args.badnet, table[0]["layer"])

    def split_net(images):
        from goodnet import masks, networks  # TensorFlow takes seconds that most rankings can do without

        net = networks.load(args.badnet)
        valid = data.Images(
            args.valid, networks.input_shape(net), networks.classes(net), command.read_input_max(args.params)
        )
        shown, chosen = data.spread(valid, images)
        return masks.SplitNet(net, layer, shown, valid.labels[chosen])

    channels = rankings.Channels(table, archive.folded_kernel(config, weights, layer), split_net)
    scores = np.asarray(rankings.ORDERS[order](channels, **settings))
    outputs.write_csv(args.ranking, ranking(scores, layer.name))


if __name__ == "__main__":
    command.run(main)
