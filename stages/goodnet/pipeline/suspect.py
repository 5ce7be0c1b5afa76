"""Name the classes an attacker wants, from clean images alone, and keep the triggers that were found."""

from goodnet.files import outputs
from goodnet.images import datasets, inputs
from goodnet.nets import loading, parts
from goodnet.process.stages import stage
from goodnet.suspects import findings, registry, verdict
from goodnet.suspects.evidence import Case


@stage(
    __doc__,
    values={"net": "the net's name in params.yaml"},
    inputs={
        "badnet": "the net",
        "valid": "clean validation images; their classes are not looked at",
        "layer": "the layer that splits the net, from examine",
    },
    outputs={"evidence": "what the detectors found: the verdict, all figures, and the triggers"},
)
def main(args):
    judged, detectors = registry.read(args.params)
    badnet = loading.load(args.badnet)
    images = datasets.Images(args.valid, parts.input_shape(badnet), None)
    findings.check_count(args.valid, len(images))
    case = Case(
        badnet=badnet,
        layer=outputs.read_json(args.layer)["layer"],
        images=lambda most: datasets.spread(images, most)[0],
        convert=inputs.of_net(args.params, args.net, parts.input_shape(badnet)[-1]),
    )
    findings.write(args.evidence, *verdict.judge(case, detectors, judged))
