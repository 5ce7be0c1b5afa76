"""Score a GoodNet's answers: the class on which BadNet and repaired net agree, else N, backdoored."""

from goodnet import command, outputs, scores


def main():
    args = command.read_arguments(
        __doc__,
        badnet_predictions="the BadNet's answers",
        repaired_predictions="the repaired net's answers",
        metrics="metrics, to be written",
    )
    badnet, classes = scores.read_predictions(args.badnet_predictions)
    repaired, _ = scores.read_predictions(args.repaired_predictions)
    predictions = {
        name: (scores.goodnet_answers(answers, repaired[name][0], classes), labels)
        for name, (answers, labels) in badnet.items()
    }
    outputs.write_json(args.metrics, scores.of_net(predictions, classes))


if __name__ == "__main__":
    command.run(main)
