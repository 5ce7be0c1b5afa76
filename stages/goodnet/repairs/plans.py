"""The lines of `repairs` in params.yaml, and the plan of each: all that decides what a repair does."""

from goodnet.errors import InputError
from goodnet.files import names
from goodnet.methods import chosen
from goodnet.pruning import curve
from goodnet.repairs.registry import TUNINGS
from goodnet.settings import Drop, Settings, Text, setting


class Line(Settings):
    """What one repair does: prune, tune, or one after the other."""

    drop: Drop = setting(None, "prune until clean validation accuracy has fallen by at least so many points")
    tune: Text = setting(None, "then tune by this method; its settings may stand in the line too")


def read_lines(params):
    """Return {name: (drop or None, name of the tuning or None, its settings)} of all repairs, checked.

    A line may set some of its tuning's settings itself; the others are those of the tuning's own block.
    """
    lines = params.value("repairs")
    if not isinstance(lines, dict):
        raise InputError(f"{params.path}: repairs is {lines!r}, not lines of a name and what to do")
    for name in lines:
        names.check(name, f"{params.path}: the repair")
    return {name: read_line(params, f"{params.path}: repairs.{name}", line) for name, line in lines.items()}


def read_line(params, where, line):
    """Return the same of one repair; `where` says in an error where its line stands."""
    if not isinstance(line, dict) or not {"drop", "tune"} & set(line):
        raise InputError(f"{where} is {line!r}; it needs a drop, a tune or both, as in {{drop: 10}}")
    own = {key: value for key, value in line.items() if key not in ("drop", "tune")}
    if "tune" not in line:
        own, tuning, settings = {}, None, {}
        Line.check(line, where)
    else:
        tuning = chosen(TUNINGS, line["tune"], f"{where}.tune")
        tuning.settings.check(own, where)
        block = params.value("tunings", tuning.name) or {}
        tuning.settings.check(block, f"{params.path}: tunings.{tuning.name}")
        settings = tuning.settings.check({**block, **own}, where).model_dump(by_alias=True)
    drop = Line.check({"drop": line["drop"]}, where).drop if "drop" in line else None
    return drop, tuning and tuning.name, settings


def plan(layer, goals, held_out, drop, tune, settings, rows):
    """Return what a repair comes to.

    Parameters
    ----------
    layer : str
        Where the net is split; channels are those of this layer.
    goals : list of int
        The classes that are suspected.
    held_out : float
        Percent of the images that tunings are not trained on.
    drop, tune, settings
        From `read_lines`.
    rows : list of dict
        The pruning curve; empty where no repair prunes.
    """
    result = {"layer": layer, "channels": [], "tune": tune, "settings": settings}
    if tune:
        result["held_out"] = held_out
        origin = TUNINGS.origin(tune)
        result |= {"from": origin} if origin else {}
    if tune and TUNINGS[tune].wants_goals:
        result["goals"] = goals
    if drop is not None:
        try:
            result |= {"channels": channels_for(drop, rows), "of": len(rows) - 1}
        except ValueError as error:  # stops this repair alone, when its turn comes
            result["impossible"] = str(error)
    return result


def channels_for(drop, rows):
    """Return the channels to prune for a drop, ascending; raise ValueError where no step loses it."""
    correct, images = [int(row["correct"]) for row in rows], int(rows[0]["images"])
    count = curve.channels_to_prune(correct, images, drop)
    if count is None:
        largest = 100 * (correct[0] - min(correct)) / images
        raise ValueError(
            f"no step loses {drop:g} points of accuracy; "
            f"the largest drop is {largest:.2f}, with {correct.index(min(correct))} channels pruned"
        )
    return sorted(int(row["channel"]) for row in rows[1 : count + 1])
