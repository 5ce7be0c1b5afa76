"""The lines of `repairs` in params.yaml: what a repair may ask for."""

from goodnet import command
from goodnet.command import COUNT, DROP, PERCENT, POSITIVE, SEED, SHARE, InputError

TRAINING = {"seed": SEED, "epochs": COUNT, "batch_size": COUNT, "learning_rate": POSITIVE}
TUNINGS = {  # by name: the settings of its own block in params.yaml
    "fine_tune": TRAINING,
    "sparsify": TRAINING,
    "relearn": TRAINING
    | {
        "imitation": SHARE,
        "suspects": COUNT,
        "push": POSITIVE,
        "pushed": SHARE,
        "shift": SHARE,
        "turn": SHARE,
        "zoom": SHARE,
        "brightness": SHARE,
        "contrast": SHARE,
    },
}
OF_THE_LINE = {"sparsify": {"from": PERCENT, "to": PERCENT}}  # settings that stand in the line itself


def read_lines(path):
    """Return {name: (line, settings of its tuning)} of all repairs in params.yaml, checked."""
    lines = command.read_params(path, "repairs")
    if not isinstance(lines, dict):
        raise InputError(f"{path}: repairs is {lines!r}, not lines of a name and what to do")
    return {name: (line, _settings(path, name, line)) for name, line in lines.items()}


def _settings(path, name, line):
    where = f"{path}: repairs.{name}"
    if not isinstance(line, dict) or not {"drop", "tune"} & set(line):
        raise InputError(f"{where} is {line!r}; it needs a drop, a tune or both, as in {{drop: 10}}")
    tune = line.get("tune")
    own = OF_THE_LINE.get(str(tune), {})
    kinds = {"drop": DROP, "tune": (", ".join(TUNINGS), lambda value: str(value) in TUNINGS)}
    wanted = {key: kind for key, kind in kinds.items() if key in line} | own
    given = command.read_settings(path, "repairs", name, **wanted)
    if own and given["from"] > given["to"]:
        raise InputError(f"{where} goes from {given['from']} to {given['to']} percent; zeros stay zero")
    shared = command.read_settings(path, tune, **TUNINGS[tune]) if tune else {}
    return shared | {key: given[key] for key in own}
