"""Score a GoodNet's answers: the class on which BadNet and repaired net agree, else N, backdoored."""

from goodnet.evaluation import metrics, predictions
from goodnet.files import outputs
from goodnet.nets import goodnets
from goodnet.process.stages import stage


@stage(
    __doc__,
    inputs={
        "badnet_predictions": "the BadNet's answers",
        "repaired_predictions": "the repaired net's answers",
    },
    outputs={"metrics": "metrics"},
)
def main(args):
    badnet, classes = predictions.read(args.badnet_predictions)
    repaired, _ = predictions.read(args.repaired_predictions)
    answers = {
        name: (goodnets.answers(given, repaired[name][0], classes), labels)
        for name, (given, labels) in badnet.items()
    }
    outputs.write_json(args.metrics, metrics.of_net(answers, classes))
