"""Choose the repair to use: among those that held, by clean images that no tuning was trained on."""

import shutil

import numpy as np

from goodnet.files import outputs
from goodnet.images import datasets, inputs
from goodnet.nets import loading, parts
from goodnet.process.stages import stage
from goodnet.repairs import recommend


@stage(
    __doc__,
    values={"net": "the net's name in params.yaml"},
    inputs={
        "badnet": "the net before its repair",
        "valid": "clean validation images",
        "repaired": "folder of repaired nets",
        "goodnets": "folder of GoodNets",
        "verdict": "the verdict on the net and its repairs",
    },
    outputs={
        "recommended": "folder of the repaired net and the GoodNet to use, empty if there are none",
        "metrics": "which it is, and why",
    },
)
def main(args):
    verdict, names = outputs.read_json(args.verdict), sorted(args.params.value("repairs"))
    badnet = loading.load(args.badnet)
    convert = inputs.of_net(args.params, args.net, parts.input_shape(badnet)[-1])
    valid = datasets.Images(args.valid, parts.input_shape(badnet), parts.classes(badnet))
    settings = args.params.settings(recommend.Recommend, "recommend")
    images, numbers = datasets.spread(valid, recommend.count(len(valid), settings.held_out))

    def right(path):
        return recommend.right(loading.load(path), convert, images, valid.labels[numbers])

    correct = {name: right(args.repaired / f"{name}.keras") for name in names}
    judged = [one for one in verdict.get("repaired", []) if one["name"] in names]
    tunings = {name: line.get("tune") for name, line in args.params.value("repairs").items()}
    best = recommend.choose(judged, correct, len(numbers), recommend.shown_triggers(tunings))
    correct["badnet"] = right(args.badnet)
    covered, classes = len(np.unique(valid.labels)), parts.classes(badnet)
    told = recommend.figures(best, verdict["verdict"], judged, correct, len(numbers), covered, classes)
    args.recommended.mkdir(parents=True, exist_ok=True)
    for name, folder in {"repaired.keras": args.repaired, "goodnet.keras": args.goodnets}.items():
        (args.recommended / name).unlink(missing_ok=True)
        if best:
            with outputs.replacing(args.recommended / name) as partial:
                shutil.copyfile(folder / f"{best}.keras", partial)
    outputs.write_json(args.metrics, told)
