"""Put together what is known of the net and its repairs: is it backdoored, and which repairs have held."""

from goodnet.files import outputs
from goodnet.process.stages import stage
from goodnet.suspects import findings, fresh


@stage(
    __doc__,
    inputs={
        "evidence": "what was found in B, from suspect",
        "attacks": "folder of what fresh attacks on the repaired nets came to",
    },
    outputs={"metrics": "the verdict"},
)
def main(args):
    evidence, found = findings.read(args.evidence)
    names = sorted(args.params.value("repairs"))  # whatever else lies in the folder
    attacks = {name: outputs.read_json(args.attacks / f"{name}.json") for name in names}
    judged = args.params.settings(fresh.Attack, "attack")
    outcomes = {name: fresh.judge(one, judged) for name, one in attacks.items()}
    outputs.write_json(args.metrics, findings.metrics(evidence, found, outcomes))
