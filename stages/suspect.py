"""Name the classes an attacker wants from clean images alone, and tell which repairs still give them."""

from goodnet.files import archive, outputs
from goodnet.images import datasets, inputs
from goodnet.methods import chosen
from goodnet.nets import loading, parts
from goodnet.process import commands
from goodnet.process.stages import stage
from goodnet.pruning import channels
from goodnet.suspects import findings
from goodnet.suspects.registry import DETECTORS, Case


@stage(
    __doc__,
    values={"net": "the net's name in params.yaml"},
    inputs={
        "badnet": "the net",
        "valid": "clean validation images; their classes are not looked at",
        "layer": "the layer that splits the net, from examine",
        "plans": "folder of plans, which says what repairs there are",
        "repaired": "folder of the repaired nets",
    },
    outputs={"metrics": "who is named", "pictures": "shares and pictures for the report"},
)
def main(args):
    judged = args.params.settings(findings.Suspect, "suspect")
    detector = chosen(DETECTORS, judged.detector, f"{args.params.path}: suspect.detector")
    settings = args.params.settings(detector.settings, "detectors", detector.name)
    config, _ = archive.read(args.badnet)
    layer = outputs.read_json(args.layer)["layer"]
    badnet = loading.load(args.badnet)
    images = datasets.Images(args.valid, parts.input_shape(badnet), None)
    findings.check_count(args.valid, len(images))
    # By their plans, whatever else lies in the folder of nets.
    names = sorted(path.stem for path in args.plans.glob("*.json"))
    case = Case(
        badnet=badnet,
        repaired={name: loading.load(args.repaired / f"{name}.keras") for name in names},
        layer=layer,
        pruned=None if layer is None else channels.find(config, args.badnet, layer),
        images=lambda most: datasets.spread(images, most)[0],
        convert=inputs.of_net(args.params, args.net, parts.input_shape(badnet)[-1]),
    )
    found = detector.function(case, settings)
    findings.write(args.pictures, found)
    outputs.write_json(args.metrics, findings.metrics(found, judged.held))


if __name__ == "__main__":
    commands.run(main)
