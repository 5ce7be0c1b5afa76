"""What the child in quarantine reads: each reader yields heads and arrays, or raises InputError.

Nothing here is trusted afterwards: the parent checks again what it is handed.
"""

import zipfile
from pathlib import Path

import numpy as np

from goodnet import blocks
from goodnet.errors import InputError
from goodnet.files import hdf5, lab
from goodnet.images import arrays, datasets, photos
from goodnet.lazy import tf
from goodnet.nets import loading, netfiles, parts, running
from goodnet.process import commands
from goodnet.quarantine import confinement


def read_net(job, scratch):
    """Yield a net's configuration, then its variables in Keras's order."""
    path = Path(job["path"])
    yield from _remark(path)
    sound = netfiles.deepid_weights(path) if job["weights"] else netfiles.checked(path, scratch)
    yield {"sound": True}, None
    confinement.let_go()
    with commands.quick_and_quiet():
        tf.zeros(1).numpy()  # starts its threads, which take room
    confinement.hold(job["memory"], job["seconds"])
    net = netfiles.build_deepid(sound, path) if job["weights"] else loading.build(sound, path)
    yield {"config": parts.config(net)}, None
    for variable in net.variables:
        yield {}, variable.numpy()
    yield {"built": True}, None
    try_out(net, path)


def try_out(net, path):
    """Run a net, and its gradient, on as many images at once as later; refuse one that makes no scores."""
    shape = parts.input_shape(net)
    images = np.random.default_rng(0).random((blocks.size(running.BATCH, shape), *shape), np.float32)
    shown = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(shown)
        scores = net(shown, training=False)
    tape.gradient(scores, shown)
    for made in (scores, net(shown * 255, training=False)):
        loading.check_scores(made.numpy(), path)


def read_images(job, scratch):
    """Yield the images of an HDF5 file or .npz archive as they are laid out, in blocks, then the labels."""
    path = file = Path(job["path"])
    yield from _remark(path)
    if zipfile.is_zipfile(path):
        file = scratch / "images.h5"
        arrays.copy(path, file)
    with hdf5.open_file(file) as opened, hdf5.damage_is_one_line(path):
        data = hdf5.own_dataset(opened, "data", path)
        datasets.check_data(data, path)
        yield {"images": len(data)}, None
        size = blocks.size(datasets.BLOCK, data.shape[1:])
        for start in range(0, len(data), size):
            block = datasets.rows(data, start, size, path)
            whole = block.astype(np.uint8)
            yield {}, whole if np.array_equal(whole, block) else block
        if "label" in opened:
            label = hdf5.own_dataset(opened, "label", path)
            datasets.check_label(label, len(data), path)
            yield {"label": True}, label[()].astype(np.float64)


def read_pictures(job, scratch):
    """Yield pictures one by one, or in words why one is none."""
    for path in job["paths"]:
        try:
            yield {}, photos.read(Path(path), job["shape"])
        except InputError as error:
            yield {"error": str(error)}, None
        confinement.hold(job["memory"], job["seconds"])


def read_overlay(job, scratch):
    """Yield the colours and the cover of a trigger."""
    for array in photos.read_overlay(Path(job["paths"][0]), job["shape"]):
        yield {}, array


def _remark(path):
    remark = lab.check(path)
    if remark:
        yield {"remark": remark}, None
