"""A net asked about the clean test images and every poisoned file."""

from goodnet import data, networks


def ask(net, test, poisoned, input_max):
    """Return {"clean" or trigger: (answers, labels)} for the test file and each file in `poisoned`."""
    predictions = {}
    for name, path in {"clean": test, **data.poisoned_files(poisoned)}.items():
        images = data.Images(path, networks.input_shape(net), networks.classes(net), input_max)
        predictions[name] = networks.answers(net, images.blocks()), images.labels
    return predictions
