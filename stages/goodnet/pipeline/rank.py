"""Rank the channels of the split layer: the order in which they are pruned."""

from goodnet.files import archive, outputs
from goodnet.images import datasets, inputs
from goodnet.methods import chosen
from goodnet.nets import loading, parts
from goodnet.process.stages import stage
from goodnet.pruning import channels
from goodnet.pruning.rankings import masks, registry


@stage(
    __doc__,
    values={"net": "the net's name in params.yaml"},
    inputs={
        "badnet": "the net",
        "valid": "clean validation images",
        "channels": "table of channels, from profile_channels",
    },
    outputs={"ranking": "the channels in the order they are pruned"},
)
def main(args):
    order = args.params.settings(registry.Prune, "prune").order
    ranking = chosen(registry.RANKINGS, order, f"{args.params.path}: prune.order")
    settings = args.params.settings(ranking.settings, "rankings", order)
    convert = inputs.of_net(args.params, args.net)
    table, rows = outputs.read_csv(args.channels), []
    if table:
        config, weights = archive.read(args.badnet)
        layer = channels.find(config, args.badnet, table[0]["layer"])

        def split_net(images):
            net = loading.load(args.badnet)
            shape, classes = parts.input_shape(net), parts.classes(net)
            convert.check_channels(shape[-1], f"{args.params.path}: nets.{args.net}.input")
            valid = datasets.Images(args.valid, shape, classes, convert)
            return masks.split(net, layer, valid, images)

        given = registry.Channels(table, channels.folded_kernel(config, weights, layer), split_net)
        rows = registry.rank(ranking, settings, given, layer.name)
    outputs.write_csv(args.ranking, rows, registry.COLUMNS)
