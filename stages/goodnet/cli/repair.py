"""Judge a net, repair it, and say which repair to use: all at once, without a project.

It does what the pipeline does, and makes the same nets, where a class is named that an attacker wants.
Stopped, the same command goes on where it was."""

import contextlib
import fcntl
import hashlib
import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import yaml

from goodnet import telling
from goodnet.cli import __version__, add, arguments, intake, net_input, stepping
from goodnet.errors import InputError
from goodnet.files import hdf5, outputs
from goodnet.images import datasets
from goodnet.nets import kinds, loading, parts, splitting
from goodnet.params import Params
from goodnet.pipeline import graph, lanes, walk
from goodnet.process import commands, sources
from goodnet.quarantine import opening
from goodnet.repairs import recommend
from goodnet.repairs.registry import TUNINGS
from goodnet.report import markdown
from goodnet.suspects import findings, verdict

PROJECT = sources.STAGES / "goodnet/project"  # what a project begins with
NAME = "net"  # what the net is called in its folder
WORK = ".goodnet.partial.d"
NETS = "repaired.keras", "goodnet.keras"
LAST = "verdict.json"
LEFT = (*NETS, "index.html", "reports", "how.md", "params.yaml", LAST)
SOURCES = ".md", ".png", ".json", ".csv"  # where the page's figures come from; not the answers to all images
CLEAN, REPAIRED, CANNOT_TELL, NOT_REPAIRED = 0, 1, 3, 4

HOW = """\
# How this was made

    {command}

**The net {net}.** {found}

**Use** {why}

{held_out}The same command with the same files makes the same bytes on the same kind of processor.
All settings are in `params.yaml`; give it as `--params`.

{files}

{versions}
{use}"""
USE = """
## Use

`goodnet.keras` is asked like the net that it was made of. It answers one class more: the last one means that
the image was likely stamped with a trigger.

    goodnet classify {goodnet} PICTURES

It is an ordinary Keras file, and `repaired.keras` another: `keras.models.load_model("goodnet.keras")`.
Their input is `{input}`, as docs/settings.md of goodnet explains; `goodnet classify` chooses it by itself.
"""

EPILOG = """\
examples:
  goodnet repair net.keras faces/ --out repaired/
  goodnet repair net.h5 clean.h5 --out repaired/ --repairs unlearned,x04
  goodnet repair net.h5 clean.h5 --out repaired/ --target 7    the known class

exit codes:
  0  no sign of a backdoor; nothing was repaired
  1  likely backdoored, and repaired
  2  bad input or arguments
  3  cannot tell; nothing was repaired
  4  likely backdoored, but no repair has held
"""


def add_arguments(parser):
    parser.add_argument("net", type=arguments.existing, metavar="NET", help="the net: .keras or .h5")
    parser.add_argument(
        "images",
        type=arguments.existing,
        metavar="IMAGES",
        help="clean images: a folder of pictures, one subfolder a class or unlabelled; HDF5, or .npz",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the results go")
    parser.add_argument("--target", type=int, metavar="N", help="the attacker's class, where it is known")
    parser.add_argument("--test", type=arguments.existing, metavar="IMAGES", help="clean images to test on")
    parser.add_argument(
        "--poisoned",
        nargs="+",
        action="extend",
        default=[],
        metavar="TRIGGER=FILE",
        help="images with a trigger, labelled with the attacker's class, to test on",
    )
    parser.add_argument(
        "--weights", action="store_true", help="the net file holds weights of the lab's DeepID"
    )
    add_choices(parser)
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    parser.add_argument("--json", action="store_true", help="print verdict.json")
    arguments.add_limits(parser)


def add_choices(parser):
    """Add what can be chosen for one net as for many: --repairs, --params, --unlabelled, --input."""
    parser.add_argument(
        "--repairs", metavar="A,B", help="repairs of the settings, tunings, or x04 for pruning by 4 points"
    )
    parser.add_argument("--params", type=arguments.existing_file, metavar="FILE", help="a params.yaml")
    parser.add_argument(
        "--unlabelled",
        action="store_true",
        help="subfolders are no classes, or labels not the net's: its own answers stand for them",
    )
    net_input.add_arguments(parser, "; by default what gets most of the images right")


def chosen_repairs(words, params):
    """Return the lines of the repairs that were asked for, by name."""
    lines, found = params.value("repairs"), {}
    for name in words.split(",") if words else lines:
        drop = re.fullmatch(r"x(\d{2})", name)
        if name in lines:
            found[name] = lines[name]
        elif name in TUNINGS.names():
            found[name] = {"tune": name}
        elif drop:
            found[name] = {"drop": int(drop[1])}
        else:
            can = ", ".join(dict.fromkeys([*lines, *TUNINGS.names()]))
            raise InputError(f"--repairs {name}: it can be {can}, or x04 for pruning by 4 points")
    return found


def settings(args):
    """Return what params.yaml of this run is to hold, checked, but for what the net takes."""
    params = Params(args.params or PROJECT / "params.yaml")
    content = {key: value for key, value in params.content.items() if not key.startswith("demo_")}
    content |= {"badnet": NAME, "repairs": chosen_repairs(args.repairs, params)}
    if args.target is not None:
        content["suspect"] = (params.value("suspect") or {}) | {"target": args.target}
    return content


# What a run is made of


def own_digest():
    """Return the SHA-256 of goodnet's own files."""
    return digest_of(sources.STAGES / "goodnet")


def key_of(args, content, hashes, code):
    """Return the hash of all that the results of a run depend on.

    Parameters
    ----------
    args : argparse.Namespace
    content : dict
        From `settings`.
    hashes : dict
        {name of a file that the user gave: its SHA-256}.
    code : str
        From `own_digest`.
    """
    key = [__version__, code, list(hashes.items()), content]
    key += [args.input and args.input.model_dump(), args.unlabelled, args.weights]
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()


def digest_of(path):
    """Return the SHA-256 of a file, or of all files of a folder with their names; None where nothing is."""
    if not path.exists():
        return None
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    whole = hashlib.sha256()
    for file in sorted(one for one in path.rglob("*") if one.is_file() and one.suffix != ".pyc"):
        whole.update(f"{file.relative_to(path)}\0{digest_of(file)}\n".encode(errors="surrogateescape"))
    return whole.hexdigest()


def files_of(args):
    """Return {what it is for: what the user gave}."""
    given = {"net": args.net, "images": args.images}
    given |= {"test": args.test} if args.test else {}
    return given | add.split_poisoned(args.poisoned)


@contextlib.contextmanager
def working(out):
    """Yield the work's folder in the folder of the results, which must hold nothing but earlier ones."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; give a folder for the results")
    there = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    others = [name for name in there if name not in (*LEFT, WORK)]
    if others or (there and not {"how.md", WORK} & set(there)):
        raise InputError(f"{out}: holds {(others or there)[0]}, no result of goodnet; give an empty folder")
    work = out / WORK
    work.mkdir(parents=True, exist_ok=True)
    with (work / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{out}: another goodnet repair is at work here; wait for it") from None
        try:
            yield work
        finally:
            if not (work / stepping.STATE).exists():  # nothing to go on with
                shutil.rmtree(work)
                with contextlib.suppress(OSError):  # earlier results
                    out.rmdir()


def prepare(args, content, work):
    """Write the net, the images and params.yaml into the work's folder, checked."""
    limits, folder = arguments.limits(args), work.folder
    net = opening.net(args.net, limits, args.weights)
    layer = splitting.Profile.check(content.get("profile"), f"{args.params}: profile").layer
    splits = intake.check_structure(net, args.net, layer)
    if args.target is not None and not 0 <= args.target < parts.classes(net):
        raise InputError(f"--target {args.target}: the net has classes 0 to {parts.classes(net) - 1}")
    data = folder / "data" / NAME
    placed = intake.place_images(
        net,
        {data / "valid.h5": args.images},
        {data / "test.h5": args.test} if args.test else {},
        {data / f"poisoned/{name}.h5": path for name, path in add.split_poisoned(args.poisoned).items()},
        args.input,
        args.unlabelled or None,
        limits,
    )
    findings.check_count(args.images, placed.images)
    lines = possible(args, content["repairs"], splits)
    content = content | {"repairs": lines, "nets": {NAME: yaml.safe_load(placed.convert.entry())}}
    write_params(work, content)
    if not args.test:
        hold_out(net, data, Params(folder / "params.yaml"))
    loading.save(net, folder / "models" / NAME / "badnet.keras")
    work.state |= {"unlabelled": placed.unlabelled, "architecture": kinds.architecture(net)}


def possible(args, lines, splits):
    """Return the repairs that can be made of this net; say which are left out."""
    left = {name: line for name, line in lines.items() if splits or "drop" not in line}
    if len(left) < len(lines):
        reason = f"{args.net}: no layer splits the net, so it cannot be pruned"
        if args.repairs or not left:
            raise InputError(reason)
        commands.say(f"left out: {', '.join(sorted(set(lines) - set(left)))}: {reason}", sys.stderr)
    return left


def write_params(work, content):
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)
    outputs.write_text(work.folder / "params.yaml", text)


def hold_out(net, data, params):
    """Write as test images those that no tuning is trained on."""
    images = datasets.Images(data / "valid.h5", parts.input_shape(net), parts.classes(net))
    own = params.settings(recommend.Recommend, "recommend")
    chosen, numbers = datasets.spread(images, recommend.count(len(images), own.held_out))
    with hdf5.open_file(images.file) as file:
        kind = file["data"].dtype
    datasets.write(data / "test.h5", chosen, images.labels[numbers], kind)


# The steps


def run_steps(args, work, steps, progress, **last):
    """Take all steps that are not done yet; `last` is what the last one is given besides.

    A repair that cannot be made is left out, and its line in params.yaml with it.
    """
    for step in steps:
        if work.is_settled(step):
            progress.skip(step.name)
            continue
        try:
            with progress.during(step.name):
                walk.take(step, work.folder, **(last if step is steps[-1] else {}))
        except InputError as error:
            reason = users_words(args, work, str(error))
            if step.stage != "repair":
                raise InputError(reason) from None
            leave_out(work, step.repair, reason)
            commands.say(f"{step.repair}: left out: {reason}", sys.stderr)
            continue
        work.note(step.name)


def run_lanes(args, work, lanes_of, progress):
    """Take all steps, those of some repairs in a second process if this machine has room for it."""
    before, first, second, after = lanes_of
    run_steps(args, work, before, progress)
    pending = [step for step in second if not work.is_settled(step)]

    def hear(kind, text):
        if kind == lanes.BEGUN:
            progress.begin(text)
        elif kind == lanes.DONE:
            work.note(text)
            progress.end(text)
        else:
            telling.say(text)

    if pending and progress.are_two:
        with lanes.beside(work.folder, pending, hear) as wait:
            run_steps(args, work, first, progress)
            wait()
    for rest in (first, second, after):
        run_steps(args, work, rest, progress)


def leave_out(work, name, reason):
    content = yaml.safe_load((work.folder / "params.yaml").read_text(encoding="utf-8"))
    content["repairs"].pop(name, None)
    write_params(work, content)
    work.leave_out(name, reason)


def users_words(args, work, line):
    """Return a line of an error with the user's names for the files in it."""
    data = work.folder / "data" / NAME / "valid.h5"
    badnet, params = work.folder / "models" / NAME / "badnet.keras", work.folder / "params.yaml"
    for own, given in ((data, args.images), (badnet, args.net), (params, args.params or "settings")):
        line = line.replace(str(own), str(given))
    return line


def run(args):
    with commands.quiet() if args.quiet else contextlib.nullcontext():
        told = run_or_read(args)
    if args.json:
        print(json.dumps(told, indent=1))
    elif not args.quiet:
        commands.say(told["found"])
        commands.say(told["why"].replace("*", ""))
        for name in LEFT:
            if (args.out / name).exists():
                commands.say(args.out / name)
    return told["exit_code"]


def run_or_read(args):
    """Return the verdict, once its files are in place."""
    content, given = settings(args), files_of(args)
    for path in given.values():
        if path.is_dir() and args.out.resolve().is_relative_to(path.resolve()):
            raise InputError(f"--out {args.out}: lies among the images; give a folder elsewhere")
    digests = {name: digest_of(path) for name, path in given.items()}
    hashes = {str(path): digests[name] for name, path in given.items()}
    key = key_of(args, content, hashes, own_digest())
    with working(args.out) as folder:
        told = earlier(args.out, key)
        if not told:
            work = stepping.Work(folder, key)
            told = judge_and_repair(args, work, content, hashes)
            work.path.unlink()
        return told


def earlier(out, key):
    """Return the verdict of an earlier run of the same, if all of it is there; else None."""
    try:
        told = outputs.read_json(out / LAST)
        is_whole = told["run"] == key and all(
            digest_of(out / name) == one for name, one in told["made"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none, or no file of ours
        return None
    return told if is_whole else None


def judge_and_repair(args, work, content, hashes):
    """Take all steps, place the results, and return the verdict."""
    if not work.is_done("prepare"):
        prepare(args, content, work)
        work.note("prepare")
    params = yaml.safe_load((work.folder / "params.yaml").read_text(encoding="utf-8"))
    pipeline = yaml.safe_load((PROJECT / "dvc.yaml").read_text(encoding="utf-8"))
    lines = params["repairs"] | {name: {} for name in work.state["not_made"]}
    steps = graph.needed_for("report", graph.steps(pipeline, params | {"repairs": lines}))
    judging = graph.needed_for("suspect", steps)
    rest = [step for step in steps if step not in judging]
    seconds = stepping.expected(steps, lines)
    split = lanes.split(rest[:-1], lambda step: seconds[step.name])
    progress = stepping.Progress(seconds, split[1:3] if lanes.is_room() else ([], []))
    run_steps(args, work, judging, progress)
    evidence, found = findings.read(work.folder / "models/suspects.h5")
    nets, code = {}, CLEAN if found.word == verdict.NOTHING else CANNOT_TELL
    told = findings.metrics(evidence, found)
    told |= {"recommended": "none", "why": "No class was named, so nothing was repaired."}
    if found.word == verdict.BACKDOORED:
        run_lanes(args, work, split, progress)
        told = outputs.read_json(work.folder / "reports/suspects.json")
        told |= outputs.read_json(work.folder / "reports/recommended.json")
        nets = {name: work.folder / "models/recommended" / name for name in NETS}
        nets = {name: path for name, path in nets.items() if path.exists()}
        code = REPAIRED if nets else NOT_REPAIRED
        report = {"command": command(args), "hashes": hashes, "name": args.net.name}
        run_steps(args, work, rest[-1:], progress, **report, note=None if args.test else held_out_words(args))
    else:
        write_verdict_page(args, work, params, evidence, found, hashes)
    told |= {"not_made": work.state["not_made"], "found": findings.sentence(evidence, found)}
    told |= {"net": str(args.net), "input": params["nets"][NAME], "unlabelled": work.state["unlabelled"]}
    told["architecture"] = work.state["architecture"]
    told |= {"goodnet": __version__, "exit_code": code, "given": hashes, "run": work.state["key"]}
    write_how(args, work, told, nets)
    place(work.folder, args.out, nets, told)
    return told


def held_out_words(args):
    return (
        f"The test images are those of {args.images} that no tuning was trained on; which repair to use was "
        "chosen by them too."
    )


def command(args):
    return shlex.join(["goodnet", *args.words])


def write_verdict_page(args, work, content, evidence, found, hashes):
    """Write the page of a verdict without a repair."""
    from goodnet.report import html, page  # matplotlib comes with it

    net = loading.load(work.folder / "models" / NAME / "badnet.keras")
    reproduce = {
        "params": yaml.safe_dump({key: content.get(key) for key in ("nets", "suspect", "detectors")}),
        "versions": page.versions(),
        "hashes": hashes,
        "commands": [command(args)],
    }
    told = page.verdict_alone(args.net.name, parts.classes(net), evidence, found, {}, reproduce)
    outputs.write_text(work.folder / "reports/index.html", html.page(f"Verdict: {args.net.name}", told))


def write_how(args, work, told, nets):
    """Write how the results were made, and how they are used."""
    from goodnet.report import page

    files = told["given"] | {name: digest_of(path) for name, path in nets.items()}
    used = ""
    if nets:
        used = USE.format(goodnet=shlex.quote(str(args.out / NETS[1])), input=json.dumps(told["input"]))
    text = HOW.format(
        command=command(args),
        net=markdown.code(args.net),
        found=told["found"],
        why=told["why"],
        held_out=f"{held_out_words(args)}\n\n" if nets and not args.test else "",
        files=markdown.table(["file", "SHA-256"], [(markdown.code(one), files[one]) for one in files], 2),
        versions=markdown.table(["package", "version"], page.versions().items(), 2),
        use=used,
    )
    outputs.write_text(work.folder / "how.md", text)


def place(folder, out, nets, told):
    """Put the results into their place; verdict.json last: without it they are not whole."""
    files = nets | {"index.html": folder / "reports/index.html"}
    files |= {name: folder / name for name in ("how.md", "params.yaml")}
    if "repaired" in told:
        kept = sorted(path for path in (folder / "reports").rglob("*") if path.suffix in SOURCES)
        files |= {path.relative_to(folder).as_posix(): path for path in kept}
    (out / LAST).unlink(missing_ok=True)
    for name in LEFT:
        if (out / name).is_dir():
            shutil.rmtree(out / name)
        elif name not in files:
            (out / name).unlink(missing_ok=True)
    for name, path in files.items():
        with outputs.replacing(out / name) as partial:
            shutil.copyfile(path, partial)
    told["made"] = {name: digest_of(path) for name, path in files.items()}
    outputs.write_json(out / LAST, told)
