"""Open thousands of damaged files as the quarantine does: each must be read, or refused in one line.

Seeds are small sound files of each kind; each is changed a few times, by its bytes, its archive's entries, or
the values of its configuration. A file that hangs its process, ends it with a traceback, takes more than it
may or is refused in too many words is kept. A seed and a number make the same file each time.
"""

import argparse
import collections
import contextlib
import copy
import io
import json
import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
from PIL import Image
from tqdm import tqdm

from goodnet.errors import InputError
from goodnet.lazy import keras, tf
from goodnet.params import Params
from goodnet.process import commands
from goodnet.quarantine import child, frames, readers  # noqa: F401, imported once for all

MEMORY, SECONDS, CLOCK = 1 << 29, 5, 60
LONGEST = 1000  # characters of a line
SHAPE = (12, 10, 3)
NUMBERS = [0, 1, -1, 2**31 - 1, 2**31, 2**32, 2**40, 2**63 - 1, -(2**63), 10**30, 1e308, float("nan")]
VALUES = [*NUMBERS, None, True, "", "a" * 5000, "\n\x1b[2J", [], {}, [[]] * 50, [[[1]]], "float64", "Lambda"]


def seeds():
    """Return {file name: content} of sound files."""
    layers = keras.layers
    images = keras.Input(SHAPE)
    x = layers.Conv2D(4, 3, activation="relu")(images)
    x = layers.MaxPooling2D(2)(layers.BatchNormalization()(x))
    x = layers.Dropout(0.3)(layers.Add()([x, layers.Conv2D(4, 1)(x)]))
    net = keras.Model(images, layers.Dense(5, activation="softmax")(layers.Flatten()(x)))
    small = keras.Sequential([keras.Input(SHAPE), layers.Conv2D(2, 3), layers.GlobalMaxPooling2D()])
    pixels = np.random.default_rng(0).integers(0, 256, (6, *SHAPE), dtype=np.uint8)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, one in {"net.keras": net, "net.h5": net, "small.keras": small, "small.h5": small}.items():
            one.save(Path(folder) / name)
            found[name] = (Path(folder) / name).read_bytes()
        with h5py.File(Path(folder) / "images.h5", "w") as file:
            file.create_dataset("data", data=pixels, chunks=(2, *SHAPE), compression="gzip", shuffle=True)
            file["label"] = np.arange(6.0)
        found["images.h5"] = (Path(folder) / "images.h5").read_bytes()
    for name, options in {"a.png": {}, "a.jpg": {}, "b.jpg": {"progressive": True}}.items():
        buffer = io.BytesIO()
        Image.fromarray(pixels[0]).save(buffer, "PNG" if name.endswith("png") else "JPEG", **options)
        found[name] = buffer.getvalue()
    buffer = io.BytesIO()
    np.savez_compressed(buffer, data=pixels, label=np.arange(6))
    found["images.npz"] = buffer.getvalue()
    found["params.yaml"] = (Path(__file__).parent.parent / "params.yaml").read_bytes()
    return found


# Changes.


def of_bytes(rng, content, _):
    """Change a few bytes, numbers or stretches."""
    content = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        place = rng.randrange(len(content))
        kind = rng.randrange(6)
        if kind == 0:
            content[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            content[place] = rng.randrange(256)
        elif kind == 2:
            size = rng.choice([2, 4, 8])
            number = rng.choice([0, 1, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1])
            order = rng.choice(["little", "big"])
            content[place : place + size] = (number % 2 ** (8 * size)).to_bytes(size, order)
        elif kind == 3:
            other, length = rng.randrange(len(content)), rng.randrange(1, 64)
            content[place : place + length] = content[other : other + length]
        elif kind == 4:
            length = rng.randrange(1, 64)
            content[place:place] = content[place : place + length] * rng.choice([1, 2, 100])
        elif len(content) > 2:
            del content[rng.randrange(1, len(content)) :]
    return bytes(content)


def of_entries(rng, content, name):
    """Change one entry of an archive, and pack it again so that its sums are right."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {entry: archive.read(entry) for entry in archive.namelist()}
    chosen = rng.choice(list(entries))
    entries[chosen] = of_bytes(rng, entries[chosen], name)
    return _packed(entries)


def of_values(rng, content, name):
    """Change a few values of a net's configuration."""
    if name.endswith(".keras"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = {entry: archive.read(entry) for entry in archive.namelist()}
        entries["config.json"] = _revalued(rng, entries["config.json"])
        return _packed(entries)
    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as file:
        config = _revalued(rng, file.attrs["model_config"])
        del file.attrs["model_config"]
        file.attrs["model_config"] = config.decode()[:60_000]
    return buffer.getvalue()


def _packed(entries):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _revalued(rng, text):
    config = json.loads(text)
    for _ in range(rng.choice([1, 1, 2, 3])):
        places = list(_places(config))
        if not places:  # a change before took all away
            break
        holder, key = rng.choice(places)
        other, theirs = rng.choice(places)
        kind = rng.randrange(4)
        if kind == 0 and isinstance(holder, dict):
            del holder[key]
        elif kind == 1:
            holder[key] = copy.deepcopy(other[theirs])
        elif kind == 2 and isinstance(holder, list):
            holder.extend([holder[key]] * rng.choice([1, 3]))
        else:
            holder[key] = copy.deepcopy(rng.choice(VALUES))  # else a later change would change them
    return json.dumps(config).encode()


def _places(node):
    for key in node if isinstance(node, dict) else range(len(node)):
        yield node, key
        if isinstance(node[key], dict | list):
            yield from _places(node[key])


def changed(rng, name, content):
    """Return a seed, changed in one of the ways that its kind of file knows."""
    ways = [of_bytes]
    if name.endswith((".keras", ".npz")):
        ways += [of_entries, of_entries]
    if name.endswith("net.keras") or (name.endswith(".h5") and name != "images.h5"):
        ways += [of_values, of_values, of_values]
    return rng.choice(ways)(rng, content, name)


# Opening.


def reader_of(name):
    """Return the job that opens a file of this name."""
    if name.startswith("images"):
        return {"reader": "read_images"}
    if name.endswith(("png", "jpg")):
        return {"reader": "read_pictures", "shape": SHAPE}
    return {"reader": "read_net", "weights": False}


def opened(path, scratch):
    """Open a file in a process of its own; return a word for what came of it, and what is wrong with that."""
    told = scratch / "frames"
    told.unlink(missing_ok=True)
    sys.stderr.flush()
    process = os.fork()
    if not process:
        _in_child(path, scratch, told)
    until = time.monotonic() + CLOCK
    while not (ended := os.wait4(process, os.WNOHANG))[0]:
        if time.monotonic() > until:
            os.kill(process, signal.SIGKILL)
            os.wait4(process, 0)
            return "hung", f"no end after {CLOCK} s"
        time.sleep(0.005)
    code, used = os.waitstatus_to_exitcode(ended[1]), ended[2]
    if used.ru_utime + used.ru_stime > SECONDS + 10:
        return "slow", f"{used.ru_utime + used.ru_stime:.0f} s of a processor"
    if code < 0:  # the quarantine tells in one line of a child that crashed or was stopped
        return signal.Signals(-code).name, None
    if code:
        return "failed", f"exit code {code}"
    with told.open("rb") as stream:
        return _told(stream)


def _told(stream):
    word = "read"
    while frame := frames.take(stream, MEMORY):
        head, _ = frame
        if "memory" in head:
            return "memory", None
        if "refused" in head or "error" in head:
            line = commands.printable(head.get("refused", head.get("error")))
            if len(line) > LONGEST:
                return "refused", f"a line of {len(line)} characters"
            word = "refused"
            if "cannot be read: " in line:
                word = f"refused: {line.partition('cannot be read: ')[2][:60]}"
    return word, None


def _in_child(path, scratch, told):
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    job = reader_of(path.name) | {"path": str(path), "paths": [str(path)], "called": str(path)}
    tempfile.tempdir = str(scratch)
    try:
        with told.open("wb") as stream:
            if path.suffix == ".yaml":
                _read_params(path, stream)
            else:
                child.serve(job | {"memory": MEMORY, "seconds": SECONDS}, scratch, stream)
        os._exit(0)
    finally:
        os._exit(1)


def _read_params(path, stream):
    try:
        Params(path)
        frames.put(stream, {"done": True})
    except InputError as error:
        frames.put(stream, {"refused": str(error)})


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=20_000, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the number of the first (%(default)s)")
    parser.add_argument("--only", nargs="+", help="only seeds whose names begin with one of these")
    parser.add_argument("--kept", type=Path, default=Path("fuzz.partial.d"), help="where files that fail go")
    args = parser.parse_args()
    with multiprocessing.get_context("spawn").Pool(1) as pool:  # TensorFlow, once it has run, does not fork
        made = pool.apply(seeds)
    tf.zeros  # noqa: B018, imported once for all
    sound = {name: one for name, one in made.items() if name.startswith(tuple(args.only or [""]))}
    outcomes, failed = collections.Counter(), 0
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder) / "scratch"
        scratch.mkdir()
        with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C: what was found so far
            for number in tqdm(range(args.first, args.first + args.files), disable=None):
                rng = random.Random(f"{args.seed} {number}")
                name = rng.choice(list(sound))
                content = changed(rng, name, sound[name])
                path = Path(folder) / name
                path.write_bytes(content)
                word, wrong = opened(path, scratch)
                outcomes[name, word] += 1
                if wrong:
                    failed += 1
                    args.kept.mkdir(exist_ok=True)
                    (args.kept / f"{number}-{name}").write_bytes(content)
                    print(f"{number}-{name}: {word}: {wrong}", file=sys.stderr, flush=True)
    print(f"{outcomes.total()} files, {failed} of them wrong")
    for (name, word), count in sorted(outcomes.items()):
        print(f"{count:6} {name}: {word}")
    return min(failed, 1)


if __name__ == "__main__":
    commands.run(main)
