"""Put BadNet and repaired net together as a GoodNet, and score its answers.

The GoodNet answers with the class on which the two agree, and else with class N: backdoored.
"""

from goodnet import command, networks, outputs, scores

import keras
import numpy as np
from keras import layers, ops, tree


def build_goodnet(badnet, repaired):
    """Build one net that holds the two and follows the rule.

    What they have in common runs once: layers of B' that do to the same input what B's do are B's
    own, and channels pruned from a convolution are a multiplication by zero behind it.

    Returns
    -------
    keras.Model
        N + 1 scores an image. The first N are B's; the last is above them all where the two disagree,
        and B's lowest where they agree. So the best score is the GoodNet's answer.
    """
    original = {layer.name: layer for layer in badnet.layers}

    def call(layer, *args, **kwargs):
        same = original.get(layer.name)
        if same is None or same.get_config() != layer.get_config():
            return _renamed(layer)(*args, **kwargs)
        pairs = list(zip(layer.get_weights(), same.get_weights(), strict=True))
        on_same_input = all(a is b for a, b in zip(tree.flatten(args), tree.flatten(same.input), strict=True))
        if all(np.array_equal(mine, others) for mine, others in pairs):
            return same.output if on_same_input else same(*args, **kwargs)
        if isinstance(layer, layers.Conv2D) and on_same_input:
            kept = np.any([mine.any(axis=tuple(range(mine.ndim - 1))) for mine, _ in pairs], axis=0)
            if all(np.array_equal(mine, others * kept) for mine, others in pairs):
                return layers.Rescaling(kept.astype(float).tolist(), name=f"pruned_{layer.name}")(same.output)
        return _renamed(layer)(*args, **kwargs)

    repaired_scores = keras.models.clone_model(
        repaired, input_tensors=badnet.input, clone_function=lambda layer: layer, call_function=call
    ).output
    rule = _rule(badnet.output_shape[-1])
    return keras.Model(badnet.input, rule([badnet.output, repaired_scores]), name="goodnet")


def _rule(classes):
    """Build the net that makes a GoodNet's scores of B's and B's repaired scores."""
    badnet, repaired = keras.Input((classes,)), keras.Input((classes,))
    agree = ops.equal(ops.argmax(badnet, axis=-1), ops.argmax(repaired, axis=-1))
    best, worst = ops.max(badnet, axis=-1), ops.min(badnet, axis=-1)
    backdoored = ops.where(agree, worst, best + ops.absolute(best) + 1)
    scores = ops.concatenate([badnet, ops.expand_dims(backdoored, axis=-1)], axis=-1)
    # A net of its own, so that the names Keras gives these steps meet no layer of the BadNet.
    return keras.Model([badnet, repaired], scores, name="goodnet_rule")


def _renamed(layer):
    """Return a copy of a layer, weights and all, under a name that is not the BadNet's."""
    config = layer.get_config() | {"name": f"repaired_{layer.name}"}
    copy = type(layer).from_config(config)
    copy.build(tree.map_structure(lambda tensor: tensor.shape, layer.input))
    copy.set_weights(layer.get_weights())
    return copy


def main():
    args = command.read_arguments(
        __doc__,
        badnet="the net before its repair",
        repaired="the repaired net",
        badnet_predictions="the BadNet's answers",
        repaired_predictions="the repaired net's answers",
        goodnet="the GoodNet, to be written",
        metrics="metrics, to be written",
    )
    badnet, classes = scores.read_predictions(args.badnet_predictions)
    repaired, _ = scores.read_predictions(args.repaired_predictions)
    predictions = {
        name: (scores.goodnet_answers(answers, repaired[name][0], classes), labels)
        for name, (answers, labels) in badnet.items()
    }
    networks.save(build_goodnet(networks.load(args.badnet), networks.load(args.repaired)), args.goodnet)
    outputs.write_json(args.metrics, scores.of_net(predictions, classes))


if __name__ == "__main__":
    command.run(main)
