"""Make one repaired net: the BadNet without the channels in its plan, tuned as the plan says."""

import json
import tempfile
from pathlib import Path

from goodnet import architecture, archive, command


def main():
    args = command.read_arguments(
        __doc__,
        badnet="the net",
        valid="clean validation images",
        plan="what this repair prunes and how it is tuned, from plan",
        repaired="the repaired net, to be written",
    )
    plan = json.loads(args.plan.read_text(encoding="utf-8"))
    if "impossible" in plan:
        raise command.InputError(f"{args.params}: repairs.{args.plan.stem}: {plan['impossible']}")
    config, weights = archive.read(args.badnet)
    layer = architecture.find_pruned_layer(config, args.badnet, plan["layer"])
    weights = archive.without_channels(weights, layer, plan["channels"])
    if plan["tune"] is None:
        archive.write(args.repaired, config, weights)
    else:
        tuned(args, plan, config, weights, layer)


def tuned(args, plan, config, weights, layer):
    """Write the net with these weights after the plan's tuning."""
    # Here, since TensorFlow takes seconds that repairs without tuning can do without.
    from goodnet import data, networks, relearning, training, tuning

    input_max = command.read_input_max(args.params)
    with tempfile.TemporaryDirectory() as folder:
        pruned = Path(folder) / "pruned.keras"
        archive.write(pruned, config, weights)
        net = networks.load(pruned)
    valid = data.Images(args.valid, networks.input_shape(net), networks.classes(net), input_max)
    progress = training.Progress(args.repaired, [args.badnet, args.valid, args.plan, input_max])
    args.repaired.parent.mkdir(parents=True, exist_ok=True)
    with data.in_any_order(valid, args.repaired.parent) as images:
        on = (plan["channels"], images, valid.labels, input_max, progress, plan["settings"])
        if plan["tune"] == "relearn":
            behind = relearning.relearn(networks.load(args.badnet), layer.name, *on)
            networks.behind(net, layer.name).set_weights(behind.get_weights())
        else:
            tuning.tune(net, layer, *on)
    networks.save(net, args.repaired)
    progress.finished()


if __name__ == "__main__":
    command.run(main)
