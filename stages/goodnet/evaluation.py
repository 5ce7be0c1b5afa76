"""The images that nets are tested on: clean ones, and those with each trigger."""

from goodnet import data, networks


def images(net, test, poisoned, input_max):
    """Return {"clean" or trigger: data.Images} of the test file and each file in `poisoned`, for this net."""
    return {
        name: data.Images(path, networks.input_shape(net), networks.classes(net), input_max)
        for name, path in {"clean": test, **data.poisoned_files(poisoned)}.items()
    }
