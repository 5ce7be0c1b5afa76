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
from goodnet.pruning import channels
from goodnet.repairs import recommend
from goodnet.repairs.registry import TUNINGS, Task
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
    config, weights = archive.read(args.badnet)
    pruned = None
    if plan["layer"] is not None:
        pruned = channels.find(config, args.badnet, plan["layer"])
        config, weights = channels.pruned(config, weights, pruned, plan["channels"], plan.get("of", 0))
    if plan["tune"] is None:
        archive.write(args.repaired, config, weights)
    else:
        tune(args, plan, config, weights, pruned)


def tune(args, plan, config, weights, pruned):
    """Write the net with these weights after the plan's tuning."""
    tuning = TUNINGS[plan["tune"]]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pruned.keras"
        archive.write(path, config, weights)
        net = loading.load(path)
    shape, classes = parts.input_shape(net), parts.classes(net)
    convert = inputs.of_net(args.params, args.net, shape[-1])
    valid = datasets.Images(args.valid, shape, classes)
    code = sources.used_by(inspect.getsourcefile(tuning.function))
    progress = Progress(args.repaired, [args.badnet, args.valid, args.plan, convert, *code, Path(__file__)])
    args.repaired.parent.mkdir(parents=True, exist_ok=True)
    with datasets.in_any_order(valid, args.repaired.parent) as images:
        rows = recommend.trained_on(len(valid), plan["held_out"])
        task = Task(
            badnet=loading.load(args.badnet),
            net=net,
            layer=plan["layer"],
            pruned=pruned,
            channels=plan["channels"],
            goals=plan.get("goals", []),
            images=lambda numbers: images(rows[numbers]),
            labels=valid.labels[rows],
            convert=convert,
            progress=progress,
            scratch=args.repaired.parent,
        )
        tuning.function(task, tuning.settings.model_validate(plan["settings"]))
    loading.save(net, args.repaired)
    progress.finished()
