"""How far to trust the verdict: judge nets whose backdoors are known, and count.

Half of the trained nets fixed the settings of the detectors (half A); the rates are those of the others
(half B). Writes docs/suspects.csv, a row a net, and the tables of docs/suspects.md. What is done stays in the
folder of nets, so a study that was stopped goes on where it was; after a change of the detectors remove the
folder `judged` there, and the table: rows of nets that are not in the folder stay in it.
"""

import argparse
import sys
import time
from pathlib import Path

import attacks
import numpy as np
import subjects
import zoo

from goodnet.files import outputs
from goodnet.images import datasets
from goodnet.nets import parts, splitting
from goodnet.process import commands
from goodnet.report import markdown
from goodnet.suspects import findings, registry, verdict
from goodnet.suspects.evidence import Case

ROOT = Path(__file__).resolve().parent.parent


def judged(subject, folder):
    """Judge a net, unless that is done; return what its row says."""
    path = folder / "judged" / f"{subject.name}.h5"
    settings, detectors = registry.defaults()
    timed = path.with_suffix(".json")
    if not timed.exists():
        images, net = subject.valid()[0], subject.load()
        started = time.process_time()
        case = Case(
            net,
            splitting.find(parts.config(net), Path(subject.name)),
            lambda most: images[datasets.evenly(len(images), most)].astype(np.float32),
            subject.convert,
        )
        findings.write(path, *verdict.judge(case, detectors, settings))
        outputs.write_json(timed, {"seconds": round(time.process_time() - started, 1)})
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


def arguments(description):
    """Return a parser of what both studies are given."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shared", type=Path, help="where the data and the public nets lie")
    parser.add_argument("folder", type=Path, help="where tools/zoo.py put the nets")
    parser.add_argument("--only", nargs="+", help="only nets whose names begin with one of these")
    parser.add_argument("--threads", type=int, help="that TensorFlow may use")
    parser.add_argument(
        "--write", action="store_true", help="write the tables of docs/, of what is done so far"
    )
    return parser


def chosen(args):
    """Return the Subjects that are asked for."""
    if args.threads:
        zoo.limit_threads(args.threads)
    found = [*subjects.public(args.shared), *subjects.trained(args.folder, args.shared)]
    return [one for one in found if one.name.startswith(tuple(args.only or [""]))]


def main():
    args = arguments(__doc__).parse_args()
    found = chosen(args)
    if args.write:
        write(found, args.folder)
        return
    for subject in found:
        print(*judged(subject, args.folder).values(), sep=",", file=sys.stderr, flush=True)


def write(found, folder):
    """Write the tables of docs/, of the nets that are judged."""
    docs = ROOT / "docs"
    done = [one for one in found if (folder / "judged" / f"{one.name}.json").exists()]
    rows = subjects.with_earlier(docs / "suspects.csv", [judged(one, folder) for one in done], "net")
    outputs.write_csv(docs / "suspects.csv", rows)
    by_group = {
        group: [row for row in rows if row["group"] == group] for group in ("A", "B", "public", "lab")
    }
    for group in ("A", "B"):
        subjects.put_between(docs / "suspects.md", f"half {group}", rates(by_group[group]))
    subjects.put_between(docs / "suspects.md", "public", each(by_group["public"] + by_group["lab"]))


if __name__ == "__main__":
    commands.run(main)
