"""Layers of keras.applications with code of their own, rebuilt from plain layers as data."""

import copy


def plain(config):
    """Return a net's configuration with InceptionResNetV2's CustomScaleLayer as a Rescaling and an Add.

    Neither has weights, so the weights stay as they are. What Keras would not write is left for the checks.
    """
    try:
        entries = config["config"]["layers"]
        names = [entry["config"]["name"] for entry in entries]
        if config["class_name"] != "Functional" or not any(map(_is_scale, entries)):
            return config
        config = copy.deepcopy(config)
        config["config"]["layers"] = [
            part for entry in config["config"]["layers"] for part in _parts(entry, names)
        ]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError):
        pass  # what is wrong with it, the checks say
    return config


def _is_scale(entry):
    return entry["class_name"] == "CustomScaleLayer" and entry["module"].startswith("keras.src.applications.")


def _parts(entry, names):
    if not _is_scale(entry):
        return [entry]
    settings = entry["config"]
    name = f"{settings['name']}_scale"
    while name in names:
        name += "_"
    (node,) = entry["inbound_nodes"]
    ((kept, scaled),) = node["args"]
    to_add = copy.deepcopy(scaled)
    to_add["config"]["keras_history"] = [name, 0, 0]

    def layer(kind, name, args, **more):
        return {
            "module": "keras.layers",
            "class_name": kind,
            "config": {"name": name, "trainable": False, "dtype": "float32", **more},
            "registered_name": None,
            "name": name,
            "inbound_nodes": [{"args": args, "kwargs": {}}],
        }

    return [
        layer("Rescaling", name, [scaled], scale=settings["scale"], offset=0.0),
        layer("Add", settings["name"], [[kept, to_add]]),
    ]
