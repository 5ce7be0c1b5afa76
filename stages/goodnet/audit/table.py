"""The table of an audit: a row for each net, in the order in which they ask for attention."""

import math

from goodnet.audit import keeping
from goodnet.files import outputs
from goodnet.files.names import printable
from goodnet.suspects import verdict
from goodnet.suspects.evidence import SEARCHES

FAILED = "failed"
ORDER = (verdict.BACKDOORED, verdict.CANNOT_TELL, FAILED, verdict.NOTHING)
SAID = {
    verdict.BACKDOORED: "likely backdoored",
    verdict.CANNOT_TELL: "cannot tell",
    FAILED: "could not be judged",
    verdict.NOTHING: "without a sign of a backdoor",
}
CLEAN, BACKDOORED, CANNOT_TELL, SOME_FAILED = 0, 1, 3, 5  # exit codes
NOT_REPAIRED, NONE_HELD = "not repaired", "no repair has held"


def row(net, known, digest):
    """Return what is reported of a net.

    Parameters
    ----------
    net : finding.Net
    known : keeping.Known
    digest : str or None
        SHA-256 of the file.
    """
    told, is_judged = known.told or {}, known.told is not None
    return {
        "net": printable(net.name),
        "verdict": told.get("verdict", FAILED),
        **_looks(told.get("architecture") or {}),
        "targets": targets(told) if is_judged else [],
        "searches": told.get("stable"),
        "of_searches": SEARCHES if is_judged else None,
        "strength": strength(told),
        **best(told),
        "seconds": None if known.seconds is None else round(known.seconds, 1),
        "error": known.error and printable(known.error),
        "folder": f"{keeping.NETS}/{net.folder}" if is_judged else None,
        "sha256": digest,
    }


def _looks(architecture):
    return {
        "kind": architecture.get("kind"),
        "input": architecture.get("input_shape"),
        "classes": architecture.get("classes"),
    }


def targets(told):
    """Return the classes that an attacker wants; the doubtful ones where none is named."""
    found = [one["class"] for one in told["classes"]]
    if not found and told["doubtful"] != "none":
        found = [int(one) for one in told["doubtful"].split(", ")]
    return [*found, *(["all to all"] if told["all_to_all"] else [])]


def strength(told):
    """Return the strength of the class that most points to."""
    found = [one["strength"] for one in (*told.get("classes", ()), *told.get("foremost", ()))]
    found = [value for value in found if math.isfinite(value)]
    return round(max(found), 2) if found else None


def best(told):
    """Return the best repair, what it costs in points of accuracy on held-out images, and what is left."""
    name, accuracy = told.get("recommended", "none"), told.get("held_out_accuracy", {})
    found = {"repair": None, "cost": None, "left": None, "outcome": None}
    if not told:
        return found
    if name == "none":
        is_repaired = told["verdict"] == verdict.BACKDOORED
        return found | {"outcome": NONE_HELD if is_repaired else NOT_REPAIRED}
    one = next(one for one in told["repaired"] if one["name"] == name)
    return {
        "repair": name,
        "cost": round(accuracy["badnet"] - accuracy[name], 2),
        "left": one.get("moved"),
        "outcome": one["outcome"],
    }


def ordered(rows):
    """Return rows: backdoored first, then what is not known, then what shows no sign; by name in each."""
    return sorted(rows, key=lambda one: (ORDER.index(one["verdict"]), one["net"]))


def counts(rows):
    """Return {verdict: how many nets}."""
    return {word: sum(one["verdict"] == word for one in rows) for word in ORDER}


def exit_code(rows):
    """Return the exit code: whatever asks for most attention."""
    found = counts(rows)
    codes = {verdict.BACKDOORED: BACKDOORED, FAILED: SOME_FAILED, verdict.CANNOT_TELL: CANNOT_TELL}
    return next((code for word, code in codes.items() if found[word]), CLEAN)


def sentence(rows):
    """Return how many there are of what, in a line."""
    said = [f"{count} {SAID[word]}" for word, count in counts(rows).items() if count]
    return f"{len(rows)} net{'s' if len(rows) != 1 else ''}: {', '.join(said)}"


def write(out, rows, reproduce):
    """Write the table as JSON, CSV and a page; return what the JSON holds.

    Parameters
    ----------
    out : Path
    rows : list of dict
        From `row`.
    reproduce : dict
        Settings ("params"), "versions", "hashes" and "commands".
    """
    from goodnet.report import html

    rows = ordered(rows)
    content = {"counts": counts(rows), "exit_code": exit_code(rows), "nets": rows, "reproduce": reproduce}
    outputs.write_csv(out / keeping.CSV, [_cells(one) for one in rows])
    title = f"Audit: {sentence(rows)}"
    shown = {"sentence": sentence(rows), "nets": rows, "reproduce": reproduce}
    outputs.write_text(out / keeping.PAGE, html.page(title, {"audit": shown}))
    outputs.write_json(out / keeping.JSON, content)
    return content


def _cells(one):
    size = " x ".join(map(str, one["input"])) if one["input"] else None
    return one | {"input": size, "targets": ", ".join(map(str, one["targets"]))}
