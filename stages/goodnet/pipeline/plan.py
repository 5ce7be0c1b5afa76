"""Plan each repair, from its line, the curve and the suspects: what is pruned, how it is tuned, on what.

Repairs that were planned last time and have no line any more are gone, and their results are removed.
"""

from goodnet.files import outputs
from goodnet.process.stages import stage
from goodnet.repairs import plans
from goodnet.repairs.recommend import Recommend
from goodnet.suspects import findings


def remove_results(name, args):
    """Remove what a repair that is gone left behind; DVC still has its results in the cache."""
    for path in (
        args.repaired_nets / f"{name}.keras",
        args.repaired_nets / f".{name}.training.partial.npz",  # of a training that was cut short
        args.repaired_metrics / f"{name}.json",
        args.repaired_predictions / f"{name}.h5",
        args.goodnets / f"{name}.keras",
        args.goodnet_metrics / f"{name}.json",
        args.attacks / f"{name}.json",
    ):
        path.unlink(missing_ok=True)


@stage(
    __doc__,
    inputs={
        "layer": "the layer that splits the net, from examine",
        "curve": "accuracy after each pruned channel, from prune",
        "evidence": "what was found in B, from suspect",
    },
    cleared={
        "plans": "folder of plans, one a repair, to be written; holds those of last time",
        "repaired_nets": "folder of repaired nets; here and in the next, gone repairs' results are removed",
        "repaired_metrics": "folder of their figures",
        "repaired_predictions": "folder of their answers",
        "goodnets": "folder of GoodNets",
        "goodnet_metrics": "folder of their figures",
        "attacks": "folder of what fresh attacks came to",
    },
)
def main(args):
    layer, curve = outputs.read_json(args.layer)["layer"], outputs.read_csv(args.curve)
    lines, goals = plans.read_lines(args.params), findings.suspected(findings.read(args.evidence)[1])
    held_out = args.params.settings(Recommend, "recommend").held_out
    made = {name: plans.plan(layer, goals, held_out, *line, curve) for name, line in lines.items()}
    args.plans.mkdir(parents=True, exist_ok=True)
    for path in args.plans.glob("*.json"):
        if path.stem not in made:
            remove_results(path.stem, args)
            path.unlink()  # last, so that the next run goes on if this one is cut short
    for name, content in made.items():
        outputs.write_json(args.plans / f"{name}.json", content)
