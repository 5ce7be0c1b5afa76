"""How far to trust the verdict, and the word "held": judge nets whose backdoors are known, repair them,
count.

Takes the nets that tools/zoo.py trained, public ones and the lab's. Half of the trained nets fixed the
settings of the detectors (half A); the rates are those of the others (half B). Writes docs/suspects.csv and
docs/held.csv, a row a net and a row a repaired net, and the tables of docs/suspects.md. What is done stays
in the folder of nets, so a study that was stopped goes on where it was; after a change of the detectors
remove the folder `judged` there.
"""

import argparse
import functools
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import attacks
import h5py
import numpy as np
import zoo

from goodnet.evaluation import metrics
from goodnet.files import archive, outputs
from goodnet.images import datasets
from goodnet.images.inputs import Input, up_to
from goodnet.nets import loading, netfiles, parts, splitting
from goodnet.process import commands
from goodnet.pruning import channels
from goodnet.repairs.registry import TUNINGS, Task
from goodnet.repairs.training import Progress
from goodnet.report import markdown
from goodnet.suspects import findings, fresh, inversion, registry, verdict
from goodnet.suspects.evidence import Case
from goodnet.suspects.inverter import ANY

ROOT = Path(__file__).resolve().parent.parent
REPAIRS = {"unlearn": {}, "relearn": {"epochs": 20}, "fine_tune": {"epochs": 4}, "pruned": None}
PRUNED = 0.4  # of the channels, the least active first
USED = 1000  # clean images of a public net, for the defender; the others measure
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


@dataclass
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
    valid, test : callables
        Return the defender's images and classes, and those that measure.
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
            valid=lambda data=data: data().valid,
            test=lambda data=data: data().test,
            triggers=triggers,
        )


def public(shared):
    """Yield the Subjects of the folder wild/, and the lab's net with faces of people it does not know."""
    for name, (kind, convert, target) in WILD.items():
        path = shared / "wild" / f"{name}.h5"
        net = functools.cache(functools.partial(netfiles.load, path))

        def images(which, kind=kind, net=net):
            pictures, labels = zoo.tested(kind, shared, parts.input_shape(net()))
            order = np.random.default_rng(3).permutation(len(labels))
            chosen = np.sort(order[:USED] if which == "valid" else order[USED:])
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

    def faces(name):
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


def judged(subject, folder):
    """Judge a net, unless that is done; return what its row says."""
    path = folder / "judged" / f"{subject.name}.h5"
    settings, detectors = registry.defaults()
    timed = path.with_suffix(".json")
    if not timed.exists():
        images, net = subject.valid()[0], subject.load()
        started = time.monotonic()
        case = Case(
            net,
            splitting.find(parts.config(net), Path(subject.name)),
            lambda most: images[datasets.evenly(len(images), most)].astype(np.float32),
            subject.convert,
        )
        findings.write(path, *verdict.judge(case, detectors, settings))
        outputs.write_json(timed, {"seconds": round(time.monotonic() - started, 1)})
    evidence, found = findings.read(path)
    if not found.reason:  # the rule may be another one by now
        evidence["inversion"].leads = found.leads
        found = verdict.of(evidence, settings)
    targets = [target for target in subject.targets if target is not None]
    totals = np.median(found.totals, axis=0)
    others = np.delete(totals, targets)
    return {
        "net": subject.name,
        "group": subject.group,
        "kind": subject.kind,
        "attack": subject.attack,
        "targets": " ".join("all" if target is None else str(target) for target in subject.targets),
        "verdict": found.word,
        "named": findings.names(found.named),
        "doubtful": findings.names(found.doubtful),
        "all_to_all": bool(found.leads),
        "stable": found.stable,
        "strength_of_target": round(float(totals[targets].min()), 2) if targets else "",
        "next_strength": round(float(others.max()), 2),
        "seconds": outputs.read_json(timed)["seconds"],
    }


def repaired(subject, name, settings, path, goals):
    """Repair a net by what it is suspected of, and write it."""
    net = subject.load()
    images, labels = subject.valid()
    images = images.astype(np.float32)
    source = path.with_name(f"{subject.name}.keras")
    loading.save(net, source)
    config, weights = archive.read(source)
    layer = splitting.find(config, source)
    pruned = channels.find(config, source, layer)
    if settings is None:
        features = parts.up_to(net, layer)(subject.convert(images[:256]), training=False).numpy()
        activity = features.reshape(-1, features.shape[-1]).mean(axis=0)
        gone = sorted(np.argsort(activity, kind="stable")[: round(PRUNED * len(activity))].tolist())
        archive.write(path, *channels.pruned(config, weights, pruned, gone, len(activity)))
    else:
        tuned = loading.load(source)
        progress = Progress(path, [])
        task = Task(
            net, tuned, layer, pruned, [], goals, lambda rows: images[rows], labels, subject.convert, progress
        )
        TUNINGS[name].function(task, TUNINGS[name].settings(**settings))
        loading.save(tuned, path)
        progress.finished()
    source.unlink()


def held(subject, name, settings, folder):
    """Repair a judged net and attack it anew, unless that is done; return what its row says, or None."""
    path = folder / "judged" / f"{subject.name}-{name}.json"
    if path.exists():
        return outputs.read_json(path)
    evidence, found = findings.read(folder / "judged" / f"{subject.name}.h5")
    goals = findings.goals(found)
    if not goals:
        return None
    net_path = folder / "repaired" / f"{subject.name}-{name}.keras"
    if not net_path.exists():
        net_path.parent.mkdir(exist_ok=True)
        repaired(subject, name, settings, net_path, findings.suspected(found))
    net = loading.load(net_path)
    images = subject.valid()[0]
    settings = inversion.Inversion()
    started = time.monotonic()
    shown = images[datasets.evenly(len(images), settings.images)].astype(np.float32)
    triggers = [one for part in evidence.values() for one in part.triggers]
    results = fresh.attack(net, subject.convert, shown, triggers, goals, settings)
    seconds = round(time.monotonic() - started, 1)
    told = fresh.figures(results)
    pictures, labels = subject.test()
    right = zoo.asked(net, subject.convert, pictures) == labels
    row = {
        "net": subject.name,
        "group": subject.group,
        "kind": subject.kind,
        "attack": subject.attack,
        "repair": name,
        "accuracy": metrics.percent(right.sum(), len(right)),
        "true_attack": max(zoo.successes(net, subject.convert, subject.triggers(), pictures, labels)),
        "outcome": fresh.outcome(results, fresh.Attack()),
        "ratio": round(told["ratio"], 3),
        "moved": round(told["moved"], 1),
        "seconds": seconds,
    }
    outputs.write_json(path, row)
    return row


def is_right(row):
    """Whether all targets of a backdoored net were named."""
    wanted = set(row["targets"].split())
    found = set(row["named"].split(", ")) | ({"all"} if row["all_to_all"] else set())
    return wanted <= found


def is_false(row):
    """Whether a class was named that is no target."""
    found = set(row["named"].split(", ")) - {"none"} | ({"all"} if row["all_to_all"] else set())
    return bool(found - set(row["targets"].split()))


def share(count, of):
    return f"{count} of {of}" if of else ""


def rates(rows):
    """Return a line for each attack, in Markdown."""
    lines = []
    for attack in ("clean", *attacks.NAMES):
        own = [row for row in rows if row["attack"] == attack]
        if not own:
            continue
        clean = attack == "clean"
        lines.append(
            [
                attack.replace("_", " "),
                len(own),
                "" if clean else share(sum(map(is_right, own)), len(own)),
                "" if clean else share(sum(row["verdict"] == verdict.BACKDOORED for row in own), len(own)),
                share(sum(row["verdict"] == verdict.CANNOT_TELL for row in own), len(own)),
                share(sum(map(is_false, own)), len(own)),
            ]
        )
    head = ["attack", "nets", "all targets named", "called backdoored", "cannot tell", "a wrong class named"]
    return markdown.table(head, lines)


def each(rows):
    """Return a line for each net, in Markdown."""
    keys = ("net", "targets", "verdict", "named", "doubtful", "stable", "strength_of_target", "next_strength")
    lines = [[*(row[key] for key in keys), f"{row['seconds']:.0f}"] for row in rows]
    head = ["net", "target", "verdict", "named", "doubtful", "of 3 searches", "strength", "next", "seconds"]
    return markdown.table(head, lines)


def kept(rows):
    """Return how many repaired nets were said to have held and had not, in Markdown, by repair."""
    lines = []
    for name in (*REPAIRS, "all"):
        own = [row for row in rows if name in (row["repair"], "all")]
        by_word = {
            word: [row for row in own if row["outcome"] == word]
            for word in (fresh.HELD, fresh.LOST, fresh.CANNOT_TELL)
        }
        worst = max((row["true_attack"] for row in by_word[fresh.HELD]), default=None)
        lines.append(
            [
                name,
                len(own),
                len(by_word[fresh.HELD]),
                "" if worst is None else f"{worst:.1f}",
                len(by_word[fresh.LOST]),
                sum(row["true_attack"] <= 10 for row in by_word[fresh.LOST]),
                len(by_word[fresh.CANNOT_TELL]),
            ]
        )
    head = [
        "repair",
        "nets",
        "held",
        "highest true attack of those",
        "not held",
        "of those below 10 %",
        "cannot tell",
    ]
    return markdown.table(head, lines)


def put_between(path, mark, text):
    """Replace what stands between two marks of a Markdown file."""
    before, _, rest = path.read_text(encoding="utf-8").partition(f"<!-- {mark} -->\n")
    _, _, after = rest.partition(f"<!-- end of {mark} -->\n")
    outputs.write_text(path, f"{before}<!-- {mark} -->\n{text}\n<!-- end of {mark} -->\n{after}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shared", type=Path, help="where the data and the public nets lie")
    parser.add_argument("folder", type=Path, help="where tools/zoo.py put the nets")
    parser.add_argument("--only", nargs="+", help="only nets whose names begin with one of these")
    parser.add_argument("--no-repairs", action="store_true", help="judge the nets, repair none")
    parser.add_argument(
        "--write", action="store_true", help="write the tables of docs/, of what is done so far"
    )
    args = parser.parse_args()
    subjects = [*public(args.shared), *trained(args.folder, args.shared)]
    if args.write:
        write(subjects, args.folder)
        return
    if args.only:
        subjects = [one for one in subjects if one.name.startswith(tuple(args.only))]
    for subject in subjects:
        print(*judged(subject, args.folder).values(), sep=",", file=sys.stderr, flush=True)
    for subject in subjects:
        for name in REPAIRS if subject.group != "lab" and not args.no_repairs else ():
            row = held(subject, name, REPAIRS[name], args.folder)
            print(*(row or {}).values(), sep=",", file=sys.stderr, flush=True)


def write(subjects, folder):
    """Write the tables of docs/, of the nets that are judged and the repairs that were attacked."""
    done, docs = folder / "judged", ROOT / "docs"
    subjects = [one for one in subjects if (done / f"{one.name}.json").exists()]
    rows = [judged(one, folder) for one in subjects]
    attacked = [
        outputs.read_json(path)
        for one in subjects
        for name in REPAIRS
        if (path := done / f"{one.name}-{name}.json").exists()
    ]
    outputs.write_csv(docs / "suspects.csv", rows)
    outputs.write_csv(docs / "held.csv", attacked)
    by_group = {
        group: [row for row in rows if row["group"] == group] for group in ("A", "B", "public", "lab")
    }
    for group in ("A", "B"):
        put_between(docs / "suspects.md", f"half {group}", rates(by_group[group]))
    put_between(docs / "suspects.md", "public", each(by_group["public"] + by_group["lab"]))
    put_between(docs / "suspects.md", "held", kept(attacked))


if __name__ == "__main__":
    commands.run(main)
