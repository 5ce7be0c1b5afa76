"""What a net takes, made of pixels: its range, its standardisation, its order of colours.

All else in goodnet, what is learned, stamped, occluded or shown, is in plain pixels: 0 to 255, red first. The
conversion to what a net takes stands here alone.
"""

import reprlib
from typing import Literal

import numpy as np
from pydantic import model_validator

from goodnet.errors import InputError
from goodnet.files import names
from goodnet.images import datasets
from goodnet.nets import goodnets, parts, running
from goodnet.settings import InputMax, Number, Positive, Settings, setting

LARGEST, SMALLEST = 1e6, 1e-6  # of the numbers of an input
SAMPLE = 1024  # labelled images that tell which input fits
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
CAFFE = [103.939, 116.779, 123.68]  # blue first: what keras.applications subtracts for VGG and ResNet


class Input(Settings):
    """What a net takes: pixels become the range, then mean and standard deviation are applied."""

    range: list[Number] = setting([0.0, 255.0], "what the pixels 0 and 255 become")
    mean: list[Number] | None = setting(
        None, "subtracted from each channel, or from all, in the range's numbers"
    )
    std: list[Positive] | None = setting(None, "by which each channel is divided then, or all")
    colours: Literal["rgb", "bgr"] = setting(
        "rgb", "the order of the channels that the net takes; mean and std have it too"
    )

    def __call__(self, pixels):
        """Return what the net takes for pixels: float32 (n, height, width, channels), array or tensor."""
        if self.colours == "bgr":
            pixels = pixels[..., ::-1]
        low, high = self.range
        if (low, high) != (0, 255):
            pixels = pixels / np.float32(255 / (high - low))
        if low:
            pixels = pixels + np.float32(low)
        if self.mean is not None:
            pixels = pixels - np.asarray(self.mean, np.float32)
        if self.std is not None:
            pixels = pixels / np.asarray(self.std, np.float32)
        return pixels

    @property
    def size(self):
        """About the largest absolute value of what the net takes."""
        return 1.0 if self.std is not None else max(map(abs, self.range))

    @model_validator(mode="after")
    def is_of_use(self):
        if len(self.range) != 2 or not self.range[0] < self.range[1]:
            raise ValueError(f"range is {reprlib.repr(self.range)}, not two numbers, the lower first")
        for name, low in (("range", 0), ("mean", 0), ("std", SMALLEST)):
            values = getattr(self, name) or []
            if not all(low <= abs(value) <= LARGEST for value in values):
                raise ValueError(f"{name} is {reprlib.repr(values)}, not {low:g} to {LARGEST:g} in size")
        return self

    def check_channels(self, channels, where):
        """Refuse what does not go with a net of so many channels."""
        for name in ("mean", "std"):
            values = getattr(self, name)
            if values is not None and len(values) not in (1, channels):
                raise InputError(
                    f"{where}.{name} has {len(values)} numbers; the net takes {channels} channels"
                )
        if self.colours == "bgr" and channels != 3:
            raise InputError(f"{where}.colours is bgr; the net takes {channels} channels, not 3")

    def in_words(self):
        """Return the input as params.yaml writes it, without what is the default."""
        given = self.model_dump(exclude_defaults=True) or {"range": self.range}
        return "{" + ", ".join(f"{key}: {_written(value)}" for key, value in given.items()) + "}"

    def entry(self):
        """Return the settings of a net that takes this, as params.yaml writes them."""
        if self == up_to(self.range[-1]):
            return f"{{input_max: {self.range[-1]:g}}}"
        return f"{{input: {self.in_words()}}}"


def _written(value):
    if isinstance(value, list):
        return f"[{', '.join(f'{number:g}' for number in value)}]"
    return value


class Net(Settings):
    """What is known of a net: its input, or the largest value of it."""

    input: Input | None = setting(None, "what the net takes")
    input_max: InputMax | None = setting(
        None, "short for a range from 0 to this: 255 for plain pixels, 1 for pixels divided by 255"
    )


def of_net(params, net, channels=None):
    """Return the Input of a net of params.yaml, checked against its channels if these are known."""
    names.check(net, f"{params.path}: the net")
    given, where = params.settings(Net, "nets", net), f"{params.path}: nets.{net}"
    if (given.input is None) == (given.input_max is None):
        raise InputError(f"{where} needs either input or input_max")
    found = given.input or up_to(given.input_max)
    if channels is not None:
        found.check_channels(channels, f"{where}.input")
    return found


def up_to(input_max):
    """Return the Input of a net that takes 0 to this."""
    return Input(range=[0.0, float(input_max)])


RANGES = {  # what nets take most often
    "0 to 255": Input(),
    "0 to 1": up_to(1),
    "-1 to 1": Input(range=[-1.0, 1.0]),
}


def usual(channels, mean, std):
    """Return {words: Input} of what nets usually take, the most usual first.

    Parameters
    ----------
    channels : int
        That the net takes.
    mean, std : list of float
        Of each channel of clean pixels, for nets that were trained on images standardised by their own.
    """
    mean, std = [value / 255 for value in mean], [max(value / 255, 1e-3) for value in std]
    unit = [0.0, 1.0]
    settings = {words: {"range": one.range} for words, one in RANGES.items()} | {
        "standardised by these images": {"range": unit, "mean": mean, "std": std},
        "0 to 1 minus the mean of these images": {"range": unit, "mean": mean},
    }
    if channels == 3:
        settings["standardised by ImageNet"] = {"range": unit, **IMAGENET}
        # In the order of the channels that the net takes.
        swapped = {
            f"{words}, blue first": {
                key: value[::-1] if key != "range" else value for key, value in one.items()
            }
            | {"colours": "bgr"}
            for words, one in settings.items()
        }
        settings |= swapped | {"minus ImageNet's mean, blue first": {"mean": CAFFE, "colours": "bgr"}}
    return {words: Input(**one) for words, one in settings.items()}


def count_right(net, path, inputs):
    """Return {input: right answers} among the first images of a file, and how many those are.

    Parameters
    ----------
    net : keras.Model
    path : Path
    inputs : dict of Input
    """
    images = datasets.Images(path, parts.input_shape(net), goodnets.true_classes(net))
    block = next(images.blocks(SAMPLE))
    return right_with(net, block, images.labels[: len(block)], inputs), len(block)


def right_with(net, pixels, labels, inputs):
    """Return {input: how many of these images a net gets right with it}."""
    ask = running.as_function(net)
    return {
        name: np.count_nonzero(running.answers(ask, [convert(pixels)]) == labels)
        for name, convert in inputs.items()
    }
