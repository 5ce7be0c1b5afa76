"""Plan each repair, from its line of params.yaml and the curve: what is pruned, how it is tuned.

Repairs that were planned last time and have no line any more are gone, and their results are removed.
"""

from goodnet import command, outputs, plans, pruning


def channels(drop, curve):
    """Return the channels to prune for a drop, ascending; raise ValueError where no step loses it."""
    correct, images = [int(row["correct"]) for row in curve], int(curve[0]["images"])
    count = pruning.channels_to_prune(correct, images, drop)
    if count is None:
        largest = 100 * (correct[0] - min(correct)) / images
        raise ValueError(
            f"no step loses {drop} points of accuracy; "
            f"the largest drop is {largest:.2f}, with {correct.index(min(correct))} channels pruned"
        )
    return sorted(int(row["channel"]) for row in curve[1 : count + 1])


def plan(line, settings, curve):
    """Return what a repair's line comes to: all that decides what the repair does."""
    result = {"layer": curve[0]["layer"], "channels": [], "tune": line.get("tune"), "settings": settings}
    if "drop" in line:
        try:
            result["channels"] = channels(line["drop"], curve)
        except ValueError as error:  # stops this repair alone, when its turn comes
            result["impossible"] = str(error)
    return result


def remove_results(name, args):
    """Remove what a repair that is gone left behind; DVC still has its results in the cache."""
    for path in (
        args.repaired_nets / f"{name}.keras",
        args.repaired_nets / f".{name}.training.partial.npz",  # of a training that was cut short
        args.repaired_metrics / f"{name}.json",
        args.repaired_predictions / f"{name}.h5",
        args.goodnets / f"{name}.keras",
        args.goodnet_metrics / f"{name}.json",
    ):
        path.unlink(missing_ok=True)


def main():
    args = command.read_arguments(
        __doc__,
        curve="accuracy after each pruned channel, from prune",
        plans="folder of plans, one a repair, to be written; holds those of last time",
        repaired_nets="folder of repaired nets; here and in the next, gone repairs' results are removed",
        repaired_metrics="folder of their figures",
        repaired_predictions="folder of their answers",
        goodnets="folder of GoodNets",
        goodnet_metrics="folder of their figures",
    )
    curve = outputs.read_csv(args.curve)
    lines = plans.read_lines(args.params)
    made = {name: plan(line, settings, curve) for name, (line, settings) in lines.items()}
    args.plans.mkdir(parents=True, exist_ok=True)
    for path in args.plans.glob("*.json"):
        if path.stem not in made:
            remove_results(path.stem, args)
            path.unlink()  # last, so that the next run goes on if this one is cut short
    for name, content in made.items():
        outputs.write_json(args.plans / f"{name}.json", content)


if __name__ == "__main__":
    command.run(main)
