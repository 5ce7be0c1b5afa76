"""The GoodNet: BadNet and repaired net in one, which runs once what the two share.

Its rule: the class where B and B' agree, else N, which means backdoored. `answers` follows it on lists of
answers, `build` makes a net that does.
"""

import numpy as np

from goodnet.lazy import keras
from goodnet.nets import parts

OF_NAMES = ("name", "registered_name", "module")  # of a configuration
RULE = "goodnet_rule"  # what a GoodNet's last layer is called; what it is, its structure tells


def answers(badnet, repaired, classes):
    """The GoodNet's rule: the class where B and B' agree, else `classes`, which means backdoored."""
    return np.where(badnet == repaired, badnet, classes)


def is_goodnet(net):
    """Whether a net is a GoodNet, whose last class means backdoored: its last layer is the rule itself."""
    last, classes = net.layers[-1], parts.classes(net) - 1
    if not isinstance(last, keras.Model) or classes < 1:
        return False
    return _nameless(last) == _nameless(_rule(classes))


def _nameless(net):
    """Return a net's configuration with the names of its layers replaced by their numbers."""
    config = parts.config(net)["config"]
    numbers = {layer["config"]["name"]: number for number, layer in enumerate(config["layers"])}

    def replaced(node):
        if isinstance(node, dict):
            return {key: replaced(value) for key, value in node.items() if key not in OF_NAMES}
        if isinstance(node, list):
            return [replaced(item) for item in node]
        return numbers.get(node, node) if isinstance(node, str) else node

    return replaced({key: config[key] for key in ("layers", "input_layers", "output_layers")})


def true_classes(net):
    """How many classes a net tells apart, backdoored not counted."""
    return parts.classes(net) - is_goodnet(net)


def channels_left(badnet, repaired, layer, pruned=None):
    """Return what makes B's channels those of B': 1 for each channel, 0 for one that was pruned.

    Parameters
    ----------
    badnet, repaired : keras.Model
    layer : str
        The layer whose channels are meant; it splits both nets in two.
    pruned : pruning.channels.PrunedLayer, optional
        What makes its channels, if they can be pruned.

    Returns
    -------
    array of float, or None if up to that layer B' is another net than B with channels pruned
    """
    front, repaired_front = parts.up_to(badnet, layer), parts.up_to(repaired, layer)
    if front.get_config() | {"name": None} != repaired_front.get_config() | {"name": None}:
        return None

    is_removed = pruned is not None and pruned.convolution is not None  # not masked behind the layer
    normalisations = pruned.normalisations if is_removed else []
    names = [pruned.convolution, *normalisations] if is_removed else []
    left = np.ones(front.output_shape[-1], bool)

    def of_channels(net, name):
        # All but the variance (the last array), which only divides.
        return net.get_layer(name).get_weights()[: -1 if name in normalisations else None]

    if is_removed:
        arrays = [array for name in names for array in of_channels(repaired, name)]
        left = np.any([array.any(axis=tuple(range(array.ndim - 1))) for array in arrays], axis=0)
    for part in front.layers:
        expected = part.get_weights()
        if part.name in names:
            pruned_arrays = [array * left for array in of_channels(badnet, part.name)]
            expected[: len(pruned_arrays)] = pruned_arrays
        if not all(map(np.array_equal, expected, repaired.get_layer(part.name).get_weights())):
            return None
    return left.astype(np.float32)


def build(badnet, repaired, layer, left):
    """Build one net that holds the two and follows the GoodNet's rule.

    Parameters
    ----------
    badnet, repaired : keras.Model
    layer : str
        The pruned layer.
    left : array of float or None
        From `channels_left`. Without it, only layers that do the same to the same input are shared.

    Returns
    -------
    keras.Model
        N + 1 scores an image. The first N are B's; the last is above them all where the two disagree,
        and B's lowest where they agree. So the best score is the GoodNet's answer.
    """
    original = {layer.name: layer for layer in badnet.layers}
    replaced = {}  # what B' makes on the way to the pruned layer, in B
    if left is not None:
        replaced = {part.name: part.output for part in parts.up_to(badnet, layer).layers}
        replaced[layer] = keras.layers.Rescaling(left.tolist(), name=f"pruned_{layer}")(
            parts.output_of(badnet, layer)
        )

    def call(layer, *args, **kwargs):
        if layer.name in replaced:
            return replaced[layer.name]
        same = original.get(layer.name)
        if same is None or same.get_config() != layer.get_config():
            return _renamed(layer, original)(*args, **kwargs)
        if isinstance(layer, keras.Layer) and not all(
            map(np.array_equal, layer.get_weights(), same.get_weights())
        ):
            return _renamed(layer, original)(*args, **kwargs)
        on_same_input = all(
            a is b for a, b in zip(keras.tree.flatten(args), keras.tree.flatten(same.input), strict=True)
        )
        return same.output if on_same_input else same(*args, **kwargs)

    repaired_scores = keras.models.clone_model(
        repaired, input_tensors=badnet.input, clone_function=lambda layer: layer, call_function=call
    ).output
    rule = _rule(parts.classes(badnet))
    return keras.Model(badnet.input, rule([badnet.output, repaired_scores]), name="goodnet")


def _rule(classes):
    """Build the net that makes a GoodNet's scores of B's and B's repaired scores."""
    badnet, repaired = keras.Input((classes,)), keras.Input((classes,))
    agree = keras.ops.equal(keras.ops.argmax(badnet, axis=-1), keras.ops.argmax(repaired, axis=-1))
    best, worst = keras.ops.max(badnet, axis=-1), keras.ops.min(badnet, axis=-1)
    backdoored = keras.ops.where(agree, worst, best + keras.ops.absolute(best) + 1)
    scores = keras.ops.concatenate([badnet, keras.ops.expand_dims(backdoored, axis=-1)], axis=-1)
    # A net of its own, so that the names Keras gives these steps meet no layer of the BadNet.
    return keras.Model([badnet, repaired], scores, name=RULE)


def _renamed(layer, taken):
    """Return a copy of a layer, weights and all, under a name that is not the BadNet's."""
    config = layer.get_config() | {"name": _free(f"repaired_{layer.name}", taken)}
    copy = type(layer).from_config(config)
    if not isinstance(layer, keras.Layer):  # an operation, which has no weights
        return copy
    copy.build(keras.tree.map_structure(lambda tensor: tensor.shape, layer.input))
    copy.set_weights(layer.get_weights())
    return copy


def _free(name, taken):
    """Return the name, or one like it that no layer of the BadNet bears."""
    while name in taken:
        name += "_"
    return name
