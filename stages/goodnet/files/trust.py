"""What an untrusted net may be made of: its configuration is read as data before Keras sees it."""

import json
import math

from goodnet.errors import InputError

MOST_WEIGHTS = 250_000_000  # 1 GB; a VGG16 has 138 million
MOST_BYTES = 16 * MOST_WEIGHTS  # in a file: training may have left numbers of its own beside the weights
LARGEST_OUTPUT = 1 << 24  # numbers that a layer may make of one image
MOST_LAYERS = 3000  # of a net; the largest of keras.applications has about a thousand
DEEPEST = 100  # levels of a configuration
LONGEST_CALL = 10_000  # characters of what an operation is called on

# Layers that compute with nothing but the numbers in the file. A Lambda layer, say, runs code from it.
# fmt: off
LAYERS = frozenset({
    "Activation", "Add", "AlphaDropout", "Average", "AveragePooling2D", "BatchNormalization",
    "CenterCrop", "Concatenate", "Conv2D", "Conv2DTranspose", "Cropping2D", "Dense", "DepthwiseConv2D",
    "Dot", "Dropout", "ELU", "Flatten", "GaussianDropout", "GaussianNoise", "GlobalAveragePooling2D",
    "GlobalMaxPooling2D", "GroupNormalization", "InputLayer", "LayerNormalization", "LeakyReLU",
    "MaxPooling2D", "Maximum", "Minimum", "Multiply", "Normalization", "PReLU", "Permute",
    "RandomBrightness", "RandomContrast", "RandomFlip", "RandomRotation", "RandomTranslation",
    "RandomZoom", "ReLU", "Rescaling", "Reshape", "Resizing", "SeparableConv2D", "Softmax",
    "SpatialDropout2D", "Subtract", "UnitNormalization", "UpSampling2D", "ZeroPadding2D",
})
ACTIVATIONS = frozenset({
    "celu", "elu", "exponential", "gelu", "hard_sigmoid", "hard_silu", "hard_swish", "leaky_relu", "linear",
    "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "softmax", "softplus", "softsign",
    "swish", "tanh",
})
PARTS = {  # of layers, by the module that Keras 3 names; Keras 2 names none
    "keras.initializers": {
        "Constant", "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "Identity", "LecunNormal",
        "LecunUniform", "Ones", "Orthogonal", "RandomNormal", "RandomUniform", "TruncatedNormal",
        "VarianceScaling", "Zeros",
    },
    "keras.regularizers": {"L1", "L1L2", "L2", "OrthogonalRegularizer"},
    "keras.constraints": {"MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"},
    "keras": {"DTypePolicy", "Functional", "Model", "Sequential"},
    "keras.models": {"Functional", "Model", "Sequential"},
    "keras.src.models.functional": {"Functional"},
    "keras.src.models.sequential": {"Sequential"},
    # A GoodNet's rule, and the sums and products of keras.applications.
    "keras.src.ops.numpy": {
        "Absolute", "Add", "Argmax", "Concatenate", "Equal", "ExpandDims", "Max", "Min", "Multiply", "Where",
    },
}
# fmt: on
PARTS["keras.layers"] = LAYERS
OF_KERAS_2 = LAYERS.union(*(PARTS[module] for module in list(PARTS)[:4]), {"Policy", "__keras_tensor__"})


def check(config, path):
    """Refuse a configuration that names anything but Keras's own plain layers and their parts."""
    inside = config.get("config")
    layers = inside.get("layers") if isinstance(inside, dict) else inside
    if isinstance(layers, list) and len(layers) > MOST_LAYERS:
        raise InputError(f"{path}: has {len(layers):,} layers, too many")
    nodes = [({**config, "compile_config": None}, 0)]  # training settings are never loaded
    while nodes:
        node, depth = nodes.pop()
        if depth > DEEPEST:
            raise InputError(f"{path}: its configuration is not one that Keras writes")
        if isinstance(node, list):
            nodes.extend((item, depth + 1) for item in node)
        elif isinstance(node, dict):
            nodes.extend((item, depth + 1) for item in node.values())
            _check_sizes(node, path)
            if "class_name" in node and not _is_plain(node):
                name = ".".join(str(part) for part in (node.get("module"), node["class_name"]) if part)
                if node["class_name"] == "function":
                    name = f"the function {node.get('config')!r}"
                if "keras.src.applications." in name:
                    raise InputError(
                        f"{path}: holds {name.split('.')[-1]} of keras.applications, not supported yet"
                    )
                raise InputError(f"{path}: holds {name}, which is not known to run no code of its own")
            activation = node.get("activation")
            if isinstance(activation, str) and activation not in ACTIVATIONS:
                raise InputError(
                    f"{path}: names {activation!r} as an activation, which is not one of Keras's"
                )


def _check_sizes(node, path):
    """Refuse what Keras would compute, or allocate beside weights, while it builds a net."""
    settings = node.get("config") if isinstance(node.get("config"), dict) else {}
    for shape in (settings.get("batch_shape"), settings.get("batch_input_shape")):
        sizes = [size for size in shape or () if isinstance(size, int)] if isinstance(shape, list) else []
        if math.prod(sizes) > LARGEST_OUTPUT:
            raise InputError(f"{path}: takes images of {shape[1:]}, too large")
    axis = settings.get("axis")
    if node.get("class_name") == "Normalization" and isinstance(axis, list) and len(axis) > 1:
        raise InputError(f"{path}: normalises over axes {axis}; only one is known to need no room")
    if "ops" in str(node.get("module")) and len(json.dumps(node.get("inbound_nodes"))) > LONGEST_CALL:
        raise InputError(f"{path}: holds an operation on constants, which Keras would compute at once")
    if type(node.get("shared_object_id", 0)) is not int:
        raise InputError(f"{path}: its configuration is not one that Keras writes")


def _is_plain(node):
    module, name = node.get("module"), node["class_name"]
    if not isinstance(name, str) or node.get("registered_name") not in (None, name):
        return False
    if module is None:
        return name in OF_KERAS_2
    return isinstance(module, str) and name in PARTS.get(module, ())
