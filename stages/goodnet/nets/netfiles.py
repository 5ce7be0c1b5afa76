"""Nets from any file of Keras: .keras, whole nets in HDF5 from Keras 2 or 3, weights of the lab's DeepID."""

import json
import tempfile
import zipfile
from pathlib import Path

import h5py
import numpy as np

from goodnet.errors import InputError
from goodnet.files import archive, hdf5, outputs, rebuilt, trust
from goodnet.nets import deepid, loading


def load(path):
    """Load a whole net, after its configuration has been read as data and found harmless."""
    with tempfile.TemporaryDirectory() as folder:
        return loading.build(checked(path, Path(folder)), path)


def checked(path, folder):
    """Write into a folder what is sound of a whole net, all that Keras shall see; return the path of that."""
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            raise InputError(
                f"{path}: is a SavedModel, which runs code of its own; where it was trained, save it with "
                "model.save('net.keras'), or net.h5 with Keras 2"
            )
        raise InputError(f"{path}: is a folder; give a net saved as .keras or .h5")
    _refuse_others(path)
    if path.is_file() and zipfile.is_zipfile(path):
        sound = folder / "net.keras"
        archive.write(sound, *archive.read(path))
        return sound
    with hdf5.open_file(path) as file, hdf5.damage_is_one_line(path):
        if "model_config" not in file.attrs:
            if "layer_names" in file.attrs or "layers" in file:
                raise InputError(
                    f"{path}: holds weights alone, no net; if they are the lab's DeepID's, say --weights"
                )
            raise InputError(f"{path}: holds no net that Keras has saved")
        config = rebuilt.plain(_config(file, path))
        trust.check(config, path)
        weights = _group(file, "model_weights", path)
        hdf5.check_arrays(weights, path, trust.MOST_BYTES)
        for group in (weights, *weights.values()):
            for names in (list(group.attrs.get(key, ())) for key in ("layer_names", "weight_names")):
                if len(set(names)) < len(names):
                    raise InputError(f"{path}: names the same weights twice")
        sound = folder / "net.h5"
        with outputs.naming(sound), h5py.File(sound, "w") as copy:
            copy.attrs["model_config"] = json.dumps(config)
            file.copy(weights, copy, name="model_weights")
        return sound


def _refuse_others(path):
    """Say of files of other libraries what they are, and why they are not read."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        start = file.read(64)
    is_torch = start[:1] == b"\x80" or (zipfile.is_zipfile(path) and _holds_pickle(path))
    if is_torch or path.suffix in (".pt", ".pth"):
        raise InputError(
            f"{path}: is a PyTorch file, which is not read: goodnet works on Keras nets, and unpickling can "
            "run code of the file's author; rebuild the net in Keras and copy its weights"
        )
    if path.suffix == ".onnx" or (start[:1] == b"\x08" and b"onnx" in start.lower()):
        raise InputError(
            f"{path}: is an ONNX file, which is not read: goodnet works on Keras nets; save the net with "
            "Keras, where it was trained"
        )
    if path.suffix == ".tflite" or start[4:8] == b"TFL3":
        raise InputError(f"{path}: is a TensorFlow Lite file, which cannot be trained; give the Keras net")


def _holds_pickle(path):
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("data.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):
        return False  # damaged, which is said when it is read


def _config(file, path):
    """Return a net's configuration as Keras 3 can read it."""
    try:
        config = json.loads(file.attrs["model_config"])
        if config["class_name"] == "Sequential":
            _give_input_layer(config)
        _without_types(config)
    except (OSError, TypeError, ValueError, RuntimeError, LookupError, AttributeError):
        raise InputError(f"{path}: its configuration is not one that Keras writes") from None
    return config


def _give_input_layer(config):
    # Keras 2.2.0 wrote a list of layers alone. Up to 2.3 the first layer bore the shape of the images.
    if isinstance(config["config"], list):
        config["config"] = {"name": "sequential", "layers": config["config"]}
    layers = config["config"]["layers"]
    first = layers[0]
    if first["class_name"] != "InputLayer" and "batch_input_shape" in first["config"]:
        shape = first["config"].pop("batch_input_shape")
        name = f"{first['config']['name']}_input"
        layers.insert(0, {"class_name": "InputLayer", "config": {"batch_shape": shape, "name": name}})


def _without_types(node):
    # TensorFlow 2.0 wrote the type of the weights into initializers, which Keras 3 does not take there.
    if isinstance(node, list):
        for item in node:
            _without_types(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if (
                key.endswith("_initializer")
                and isinstance(value, dict)
                and isinstance(value.get("config"), dict)
            ):
                value["config"].pop("dtype", None)
            _without_types(value)


def _group(file, name, path):
    link = file.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink) or not isinstance(file[name], h5py.Group):
        raise InputError(f"{path}: has no group '{name}'; the file is not whole")
    return file[name]


def load_deepid(path):
    """Build the lab's DeepID with the weights in an HDF5 file, as Keras 2 or 3 saved them."""
    return build_deepid(deepid_weights(path), path)


def deepid_weights(path):
    """Return {layer: its arrays} of the lab's DeepID, as Keras 2 or 3 saved them in an HDF5 file."""
    with hdf5.open_file(path) as file, hdf5.damage_is_one_line(path):
        hdf5.check_arrays(file, path, trust.MOST_BYTES)
        try:
            return {
                name: [np.asarray(array) for array in _weights(file, name)] for name in deepid.WITH_WEIGHTS
            }
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise _no_deepid(path, error) from None


def build_deepid(weights, path):
    """Build the lab's DeepID with these weights; `path` is where they are from."""
    try:
        net = deepid.build(len(weights[deepid.WITH_WEIGHTS[-1]][-1]))
        for name, arrays in weights.items():
            net.get_layer(name).set_weights(arrays)
    except (IndexError, ValueError, TypeError) as error:
        raise _no_deepid(path, error) from None
    return loading.classifier(net, path)


def _no_deepid(path, error):
    reason = str(error.args[0] if error.args else error).split("\n")[0]
    return InputError(f"{path}: does not hold the weights of the lab's DeepID: {reason}")


def _weights(file, layer):
    if "layers" in file:
        return archive.layer_arrays(file, layer)
    group = file.get("model_weights", file)[layer]
    return [group[name] for name in group.attrs["weight_names"]]
