"""Attack a repaired net anew, to see whether the repair has held: from clean images alone."""

from goodnet.files import outputs
from goodnet.images import datasets, inputs
from goodnet.nets import loading, parts
from goodnet.process.stages import stage
from goodnet.suspects import findings, fresh, inversion


@stage(
    __doc__,
    values={"net": "the net's name in params.yaml"},
    inputs={
        "repaired": "the repaired net",
        "valid": "clean validation images; their classes are not looked at",
        "evidence": "what was found in B, from suspect",
    },
    outputs={"metrics": "how the repaired net withstood it"},
)
def main(args):
    settings = args.params.settings(inversion.Inversion, "detectors", "inversion")
    evidence, found = findings.read(args.evidence)
    if not findings.goals(found):
        outputs.write_json(args.metrics, fresh.figures([]))
        return
    net = loading.load(args.repaired)
    convert = inputs.of_net(args.params, args.net, parts.input_shape(net)[-1])
    images = datasets.Images(args.valid, parts.input_shape(net), None)
    told = fresh.attack_found(net, convert, images, evidence, found, settings)
    outputs.write_json(args.metrics, told)
