"""What a net from a stranger may be made of: its configuration is read as data before Keras sees it."""

from goodnet.command import InputError

MOST_WEIGHTS = 250_000_000  # 1 GB; a VGG16 has 138 million
LARGEST_OUTPUT = 1 << 24  # numbers that a layer may make of one image

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
    # A GoodNet's rule.
    "keras.src.ops.numpy": {
        "Absolute", "Add", "Argmax", "Concatenate", "Equal", "ExpandDims", "Max", "Min", "Where",
    },
}
# fmt: on
PARTS["keras.layers"] = LAYERS
OF_KERAS_2 = LAYERS.union(*(PARTS[module] for module in list(PARTS)[:4]), {"Policy", "__keras_tensor__"})


def check(config, path):
    """Refuse a configuration that names anything but Keras's own plain layers and their parts."""
    nodes = [{**config, "compile_config": None}]  # training settings are never loaded
    while nodes:
        node = nodes.pop()
        if isinstance(node, list):
            nodes.extend(node)
        elif isinstance(node, dict):
            nodes.extend(node.values())
            if "class_name" in node and not _is_plain(node):
                name = ".".join(str(part) for part in (node.get("module"), node["class_name"]) if part)
                if node["class_name"] == "function":
                    name = f"the function {node.get('config')!r}"
                raise InputError(f"{path}: holds {name}, which is not known to run no code of its own")
            activation = node.get("activation")
            if isinstance(activation, str) and activation not in ACTIVATIONS:
                raise InputError(
                    f"{path}: names {activation!r} as an activation, which is not one of Keras's"
                )


def _is_plain(node):
    module, name = node.get("module"), node["class_name"]
    if not isinstance(name, str) or node.get("registered_name") not in (None, name):
        return False
    if module is None:
        return name in OF_KERAS_2
    return isinstance(module, str) and name in PARTS.get(module, ())
