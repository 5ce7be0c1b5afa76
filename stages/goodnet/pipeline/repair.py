"""Make one repaired net: the BadNet without the channels in its plan, tuned as the plan says."""

import inspect
import tempfile
from pathlib import Path

from goodnet.errors import InputError
from goodnet.files import archive, outputs
from goodnet.images import datasets, inputs
from goodnet.nets import loading, parts
from goodnet.process import sources
from goodnet.process.stages import stage
from goodnet.repairs import repairing
from goodnet.repairs.training import Progress


@stage(
    __doc__,
    values={"net": "the net's name in params.yaml"},
    inputs={
        "badnet": "the net",
        "valid": "clean validation images",
        "plan": "what this repair prunes and how it is tuned, from plan",
    },
    outputs={"repaired": "the repaired net"},
)
def main(args):
    plan = outputs.read_json(args.plan)
    if "impossible" in plan:
        raise InputError(f"{args.params.path}: repairs.{args.plan.stem}: {plan['impossible']}")
    config, weights, pruned = repairing.pruned(*archive.read(args.badnet), plan, args.badnet)
    if plan["tune"] is None:
        archive.write(args.repaired, config, weights)
    else:
        tune(args, plan, config, weights, pruned)


def tune(args, plan, config, weights, pruned):
    """Write the net with these weights after the plan's tuning."""
    tuning = repairing.tuning(plan, f"{args.params.path}: repairs.{args.plan.stem}.tune")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pruned.keras"
        archive.write(path, config, weights)
        net = loading.load(path)
    shape, classes = parts.input_shape(net), parts.classes(net)
    convert = inputs.of_net(args.params, args.net, shape[-1])
    valid = datasets.Images(args.valid, shape, classes)
    code = {*sources.used_by(inspect.getsourcefile(tuning.function)), *sources.used_by(repairing.__file__)}
    inputs_of = [args.badnet, args.valid, args.plan, convert, *sorted(code), Path(__file__)]
    progress = Progress(args.repaired, inputs_of)
    args.repaired.parent.mkdir(parents=True, exist_ok=True)
    badnet, scratch = loading.load(args.badnet), args.repaired.parent
    repairing.tune(tuning, plan, badnet, net, pruned, valid, convert, progress, scratch)
    loading.save(net, args.repaired)
    progress.finished()
