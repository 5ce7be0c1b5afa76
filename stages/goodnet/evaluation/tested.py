"""The images that nets are tested on: clean ones, and those with each trigger."""

from goodnet.images import datasets
from goodnet.nets import parts


def images_of(net, test, poisoned, input_max):
    """Return {"clean" or trigger: datasets.Images} of the test file and each in `poisoned`, for this net."""
    return {
        name: datasets.Images(path, parts.input_shape(net), parts.classes(net), input_max)
        for name, path in {"clean": test, **datasets.poisoned_files(poisoned)}.items()
    }
