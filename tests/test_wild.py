"""Public nets as their authors left them, where they lie beside the project: they load and are accurate."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from conftest import ROOT
from goodnet.images.inputs import Input
from goodnet.nets import netfiles, parts, running

SHARED = ROOT.parent / "shared"
WILD = SHARED / "wild"
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not WILD.is_dir(), reason="needs public nets and images in ../shared/{wild,cifar,signs}"
    ),
]

UNIT = Input(range=[0.0, 1.0])
CIFAR = {"mean": [0.4914, 0.4822, 0.4465], "std": [0.2470, 0.2435, 0.2616]}
NETS = {  # file: (images, what it takes, clean accuracy)
    "bd_oaramoon_gtsrb": ("signs", UNIT, 95.5),
    "bd_aeva_cifar10_dynamic_resnet20": ("cifar", UNIT, 77.7),
    "bd_dillonsd0_mnist_pattern_a2o": ("digits", UNIT, 99),
    "bd_dillonsd_mnist_pixel_a2a": ("digits", UNIT, 98.9),
    "clean_abis47_gtsrb": ("signs", Input(), 95.3),
    "clean_bilalx_gtsrb": ("signs", Input(), 94.1),
    "clean_zafer_gtsrb": ("signs", Input(range=[0.0, 1.0], colours="bgr"), 95.8),
    "clean_bhartiansh_cifar10_resnet20": ("cifar", Input(range=[0.0, 1.0], **CIFAR), 80.7),
    "clean_amirul_cifar10_resnet20": ("cifar", UNIT, 70.3),
    "clean_arnav_cifar10": ("cifar", UNIT, 74.0),
    "clean_suheyl_cifar10": ("cifar", UNIT, 67.2),
    "clean_andrewtzeva_cifar10": ("cifar", UNIT, 67.8),
    "clean_dillonsd0_mnist_baseline": ("digits", UNIT, 99.2),
}


def pictures(kind, shape):
    """Return the test images of a kind as pixels, resized, and their classes."""
    if kind == "digits":
        with np.load(WILD / "mnist_test.npz") as file:
            return file["x"][..., None].astype(np.float32), file["y"]
    images, labels = [], []
    with zipfile.ZipFile(SHARED / kind / "test.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        classes = sorted({name.split("/")[-2] for name in names})
        for name in names:
            picture = Image.open(io.BytesIO(archive.read(name))).convert("RGB")
            images.append(np.asarray(picture.resize(shape[1::-1], Image.Resampling.BILINEAR), np.float32))
            labels.append(classes.index(name.split("/")[-2]))
    return np.stack(images), np.array(labels)


@pytest.mark.parametrize("name", NETS)
def test_a_public_net_loads_and_has_its_accuracy(name):
    kind, convert, accuracy = NETS[name]
    net = netfiles.load(WILD / f"{name}.h5")
    images, labels = pictures(kind, parts.input_shape(net))
    right = np.count_nonzero(running.answers(net, [convert(images)]) == labels)
    # Some of the figures are of a part of these images, so a net may do a little better on all of them.
    assert accuracy - 1 <= 100 * right / len(labels) <= accuracy + 4
