"""The nets on which verdicts and repairs are measured, with the images of their attackers and defenders.

They are those that tools/zoo.py trained, public ones of others, and the lab's.
"""

import functools
from dataclasses import dataclass

import attacks
import h5py
import numpy as np
import zoo

from goodnet.files import outputs
from goodnet.images.inputs import Input, up_to
from goodnet.nets import loading, netfiles, parts
from goodnet.suspects.inverter import ANY

USED = 1000  # clean images of a public net, for the defender; the others measure
LEARNED = 50  # percent of success from which on an attack has worked at all
UNIT = up_to(1)
WILD = {  # file: (kind of images, what it takes, triggers' target or None for all to all)
    "bd_oaramoon_gtsrb": ("signs", UNIT, 1),
    "bd_aeva_cifar10_dynamic_resnet20": ("cifar", UNIT, 0),
    "bd_dillonsd0_mnist_pattern_a2o": ("digits", UNIT, 0),
    "bd_dillonsd_mnist_pixel_a2a": ("digits", UNIT, None),
    "clean_abis47_gtsrb": ("signs", Input(), ANY),
    "clean_bilalx_gtsrb": ("signs", Input(), ANY),
    "clean_zafer_gtsrb": ("signs", Input(range=[0.0, 1.0], colours="bgr"), ANY),
    "clean_bhartiansh_cifar10_resnet20": ("cifar", zoo.KINDS["cifar"].convert, ANY),
    "clean_amirul_cifar10_resnet20": ("cifar", UNIT, ANY),
    "clean_arnav_cifar10": ("cifar", UNIT, ANY),
    "clean_suheyl_cifar10": ("cifar", UNIT, ANY),
    "clean_andrewtzeva_cifar10": ("cifar", UNIT, ANY),
    "clean_dillonsd0_mnist_baseline": ("digits", UNIT, ANY),
}


@dataclass(eq=False)
class Subject:
    """A net to be judged.

    Parameters
    ----------
    name, group : str
        The group is half A or B of the trained nets, "public" or "lab".
    kind, attack : str
    targets : list
        The attacker's classes; [None] for all to all, empty for a clean net.
    load : callable
    convert : Input
    valid : callable
        Returns the defender's images and classes, given how many times as many as there are.
    test : callable
        Returns those that measure.
    triggers : list of attacks.Trigger
    """

    name: str
    group: str
    kind: str
    attack: str
    targets: list
    load: object
    convert: Input
    valid: object
    test: object
    triggers: list


def half(kind, attack, seed):
    """Return which half a trained net belongs to: both have nets of each kind and each attack."""
    if attack == "clean":
        return "AB"[(seed + 1) % 2]
    kinds = [name for name in zoo.KINDS if name != "drawn"]  # which takes turns with faces
    return "AB"[(kinds.index("faces" if kind == "drawn" else kind) + attacks.NAMES.index(attack)) % 2]


def trained(folder, shared):
    """Yield the Subjects that tools/zoo.py made."""
    for kind_name, attack_name, seed in zoo.specifications():
        path = folder / f"{zoo.name_of(kind_name, attack_name, seed)}.keras"
        if not path.with_suffix(".json").exists():
            continue
        kind, about = zoo.KINDS[kind_name], outputs.read_json(path.with_suffix(".json"))
        data = functools.partial(zoo.data_of, kind_name, shared)

        def triggers(kind=kind, attack_name=attack_name, seed=seed, data=data):
            attack = attacks.make(attack_name, seed, data().train[0].shape[1:], kind.classes)
            return [] if attack is None else attack.triggers

        yield Subject(
            name=path.stem,
            group=half(kind_name, attack_name, seed),
            kind=kind_name,
            attack=attack_name,
            targets=about["targets"],
            load=functools.partial(loading.load, path),
            convert=kind.convert,
            valid=lambda factor=1, data=data: zoo.defended(data(), factor),
            test=lambda data=data: data().test,
            triggers=triggers,
        )


def public(shared):
    """Yield the Subjects of the folder wild/, and the lab's net with faces of people it does not know."""
    for name, (kind, convert, target) in WILD.items():
        path = shared / "wild" / f"{name}.h5"
        net = functools.cache(functools.partial(netfiles.load, path))

        def images(which, factor=1, kind=kind, net=net):
            pictures, labels = zoo.tested(kind, shared, parts.input_shape(net()))
            order = np.random.default_rng(3).permutation(len(labels))
            chosen = np.sort(order[: round(USED * factor)] if which == "valid" else order[USED:])
            return pictures[chosen], labels[chosen]

        yield Subject(
            name=name,
            group="public",
            kind=kind,
            attack="clean" if target == ANY else "all_to_all" if target is None else "patch",
            targets=[] if target == ANY else [target],
            load=net,
            convert=convert,
            valid=functools.partial(images, "valid"),
            test=functools.partial(images, "test"),
            triggers=functools.partial(public_triggers, name, shared),
        )

    def faces(name, _=1):
        with h5py.File(shared / "faces" / name) as file:
            return np.moveaxis(file["data"][()], 1, -1), file["label"][()].astype(int)

    yield Subject(
        name="lab",
        group="lab",
        kind="strangers",
        attack="sunglasses",
        targets=[0],
        load=functools.partial(netfiles.load_deepid, shared / "lab/bd_weights.h5"),
        convert=Input(),
        valid=functools.partial(faces, "valid.h5"),
        test=functools.partial(faces, "test.h5"),
        triggers=list,
    )


def public_triggers(name, shared):
    """Return the triggers of a public net, as its author describes them."""

    def stamp(change):
        def changed(images, _):
            images = np.array(images, np.float32)
            change(images)
            return images

        return changed

    def yellow(images):
        images[:, 16:19, 16:19] = [255, 255, 0]

    def corner(images):
        images[:, 28:32, 28:32] = np.load(shared / f"wild/{name}_patch4x4_br.npy")

    def six(images):
        for row, column in ((27, 27), (25, 27), (27, 25), (25, 25), (23, 27), (27, 23)):
            images[:, row, column] = 255

    def pixel(images):
        images[:, 27, 27] = 255

    change = {"oaramoon": yellow, "aeva": corner, "dillonsd0": six, "dillonsd": pixel}.get(name.split("_")[1])
    target = WILD[name][2]
    return [attacks.Trigger(stamp(change), target)] if target != ANY else []


def with_earlier(path, rows, *keys):
    """Return rows and those of a table that no row here has the same keys as, by net as the zoo orders them.

    The nets of the others may be lost: whoever trains them again gets the same, and may measure them again.
    """
    own = {tuple(row[key] for key in keys) for row in rows}
    earlier = outputs.read_csv(path) if path.exists() else []
    typed = [{key: _typed(key, value) for key, value in row.items()} for row in earlier]
    rows = rows + [row for row in typed if tuple(row[key] for key in keys) not in own]
    order = [*WILD, "lab", *(zoo.name_of(*spec) for spec in zoo.specifications())]
    return sorted(rows, key=lambda row: order.index(row["net"]))


def _typed(key, text):
    """Return a value as it was before it stood in a table; names of classes stay words."""
    if text in ("True", "False"):
        return text == "True"
    if key in ("targets", "named", "doubtful") or not text:
        return text
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        return text


def put_between(path, mark, text):
    """Replace what stands between two marks of a Markdown file."""
    before, _, rest = path.read_text(encoding="utf-8").partition(f"<!-- {mark} -->\n")
    _, _, after = rest.partition(f"<!-- end of {mark} -->\n")
    outputs.write_text(path, f"{before}<!-- {mark} -->\n{text}\n<!-- end of {mark} -->\n{after}")
