"""Files made to do harm: each a few kilobytes that cost far more, crash what reads them, or tell lies."""

import io
import json
import os
import struct
import zipfile
import zlib

import h5py
import numpy as np
from PIL import Image

import nets
from goodnet.nets import loading


def layer(kind, **config):
    return {"module": "keras.layers", "class_name": kind, "config": config, "registered_name": None}


def sequential(*layers, shape=(8, 8, 3)):
    start = layer("InputLayer", batch_shape=[None, *shape], dtype="float32", name="input")
    inside = {"name": "net", "trainable": True, "layers": [start, *layers]}
    return layer("Sequential", **inside) | {
        "module": "keras",
        "build_config": {"input_shape": [None, *shape]},
    }


def classifier(*layers, **options):
    """Return the configuration of a net of these layers, whose channels are its scores: it has no weights."""
    return sequential(*layers, layer("GlobalMaxPooling2D", name="scores"), **options)


def archived(path, config, weights=None):
    if weights is None:
        buffer = io.BytesIO()
        h5py.File(buffer, "w").close()
        weights = buffer.getvalue()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("metadata.json", "{}")
        file.writestr("config.json", config if isinstance(config, str | bytes) else json.dumps(config))
        file.writestr("model.weights.h5", weights)


def initializer(kind, **config):
    return {"module": "keras.initializers", "class_name": kind, "config": config, "registered_name": None}


def nested(value, sizes):
    for size in reversed(sizes):
        value = [value] * size
    return value


def dense(**options):
    return layer("Dense", name="wide", **options)


def flat(*layers, **options):
    """Return the configuration of a net of these layers, of rows of numbers."""
    return sequential(layer("Flatten", name="flat"), *layers, **options)


NETS = {  # name: configuration
    "a constant of nested lists": lambda: flat(
        dense(units=5_000, kernel_initializer=initializer("Constant", value=nested(1, (40, 1, 1, 1, 1)))),
        shape=(100, 100, 3),
    ),
    "a standard deviation of nested lists": lambda: flat(
        dense(
            units=5_000, kernel_initializer=initializer("RandomNormal", stddev=nested(1, (40, 1, 1, 1, 1)))
        ),
        shape=(100, 100, 1),
    ),
    "an orthogonal kernel": lambda: flat(
        dense(units=6_900, kernel_initializer=initializer("Orthogonal", gain=1.0)), shape=(100, 120, 3)
    ),
    "normalisation over an axis": lambda: sequential(
        layer("UpSampling2D", name="up", size=[500, 500]),
        layer("Reshape", name="row", target_shape=[1, 16_000_000]),
        layer("Normalization", name="norm", axis=[-1]),
        layer("Flatten", name="flat"),
        shape=(8, 8, 1),
    ),
    "millions of default weights": lambda: flat(dense(units=6_800), shape=(100, 120, 3)),
    "a pool of ninety thousand": lambda: classifier(
        layer("AveragePooling2D", name="pool", pool_size=[300, 300], strides=[1, 1], padding="same"),
        shape=(1200, 1000, 3),
    ),
    "a multiplier of channels": lambda: classifier(
        layer("SeparableConv2D", name="wide", filters=1, kernel_size=[1, 1], depth_multiplier=50_000),
        shape=(100, 100, 3),
    ),
    "an output for each of a batch": lambda: classifier(layer("UpSampling2D", name="up", size=[288, 288])),
    "a pool without end": lambda: classifier(
        layer("MaxPooling2D", name="pool", pool_size=[2**31, 2**31], padding="same")
    ),
    "strides without end": lambda: classifier(
        layer("Conv2D", name="conv", filters=2, kernel_size=[1, 1], strides=[2**40, 2**40], padding="same")
    ),
    "a name with line breaks": lambda: classifier(layer("Dense", name="a\nb.png: 3\x1b[2J", units=10**9)),
}


def of_numbers(path, number):
    """A whole net, one of whose weights is no number."""
    net = nets.cloned(nets.shared("sequential")[0])
    weights = net.get_weights()
    weights[0][0, 0, 0, 0] = number
    net.set_weights(weights)
    loading.save(net, path)


def called_rule(path):
    """A net whose last layer bears the name of a GoodNet's rule."""
    import keras

    images = keras.Input(nets.SHAPE)
    scores = keras.layers.Dense(nets.CLASSES)(keras.layers.Flatten()(images))
    inside = keras.Input((nets.CLASSES,))
    rule = keras.Model(inside, keras.layers.Dense(nets.CLASSES)(inside), name="goodnet_rule")
    loading.save(keras.Model(images, rule(scores)), path)


def lying_zip(path):
    archived(path, classifier())
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 20 : entry + 28] = struct.pack("<II", 1 << 30, 1 << 31)
    path.write_bytes(content)


def several_disks(path):
    archived(path, classifier())
    content = path.read_bytes()
    end = content.rindex(b"PK\x05\x06")
    locator = b"PK\x06\x07" + struct.pack("<IQI", 3, 10, 7)
    path.write_bytes(content[:end] + locator + content[end:])


ARCHIVES = {
    "brackets": lambda path: archived(path, b"[" + b"[]," * 10_000_000 + b"[]]"),
    "braces": lambda path: archived(path, b"[" + b"{}," * 10_000_000 + b"{}]"),
    "brackets in brackets": lambda path: archived(path, b"[" * 1_000_000),
    "a size that is a lie": lying_zip,
    "several disks": several_disks,
    "not a number": lambda path: of_numbers(path, np.nan),
    "infinite": lambda path: of_numbers(path, np.inf),
}


def whole_net(path):
    nets.shared("sequential")[0].save(path)


def named_often(path):
    whole_net(path)
    with h5py.File(path, "r+") as file:
        group = next(one for one in file["model_weights"].values() if len(one.attrs.get("weight_names", ())))
        name = group.attrs["weight_names"][0]
        group.attrs["weight_names"] = [name] * 400


def groups_in_groups(path):
    whole_net(path)
    with h5py.File(path, "r+") as file:
        weights = file["model_weights"]
        weights["around"] = weights
        here = weights
        for _ in range(3000):
            here = here.create_group("a")


def layers_a_dataset(path):
    with h5py.File(path, "w") as file:
        file["layers"] = np.zeros(3)


def large_configuration(path):
    with h5py.File(path, "w", track_order=True) as file:
        file.attrs["model_config"] = "[" + "{}," * 20_000 + "{}]"
        file.create_group("model_weights")


def large_chunk(name, rows):
    def make(path):
        with h5py.File(path, "w") as file:
            file.create_dataset("data" if name == "label" else "label", data=np.zeros((rows, *nets.SHAPE)))
            shape = (rows,) if name == "label" else (rows, *nets.SHAPE)
            dataset = file.create_dataset(
                name,
                shape,
                "u1",
                chunks=(2_000_000, *shape[1:]),
                maxshape=(None, *shape[1:]),
                compression="gzip",
            )
            dataset[:] = np.zeros(shape, np.uint8)

    return make


def never_written(name):
    def make(path):
        with h5py.File(path, "w") as file:
            for own in ("data", "label"):
                shape = (10**8, *nets.SHAPE) if own == "data" else (10**8,)
                file.create_dataset(own, shape, "u1", chunks=(1, *shape[1:]))
            file[name][0] = 1

    return make


WEIGHTS = {
    "a weight named often": named_often,
    "groups in groups": groups_in_groups,
    "layers that are a data set": layers_a_dataset,
    "a large configuration": large_configuration,
}
IMAGES = {
    "a chunk larger than its images": large_chunk("data", 20),
    "a chunk larger than its labels": large_chunk("label", 20),
    "images never written": never_written("data"),
    "labels never written": never_written("label"),
}


def many_scans(path):
    """A progressive JPEG whose scans are repeated."""
    buffer = io.BytesIO()
    Image.new("RGB", (9000, 9000)).save(buffer, "JPEG", progressive=True, quality=1)
    content = buffer.getvalue()
    scan = content[content.rindex(b"\xff\xda") : -2]
    path.write_bytes(content[:-2] + scan * 2500 + b"\xff\xd9")


def chunked(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def empty_profile(path):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    content = buffer.getvalue()
    path.write_bytes(content[:33] + chunked(b"iCCP", b"") + content[33:])


def huge_picture(path):
    head = struct.pack(">IIBBBBB", 12_000, 12_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(36_001) * 12_000)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunked(b"IHDR", head) + chunked(b"IDAT", rows) + chunked(b"IEND", b"")
    )


PICTURES = {
    "a JPEG of many scans": ("a.jpg", many_scans),
    "a PNG with an empty profile": ("a.png", empty_profile),
    "a PNG of a gigabyte": ("a.png", huge_picture),
    "a name with line breaks": (
        "a\nb.png: 3\x1b[2J.png",
        lambda path: path.write_bytes(b"no picture"),
    ),
    "a name that is no UTF-8": (os.fsdecode(b"a\xff.png"), lambda path: path.write_bytes(b"no picture")),
}
