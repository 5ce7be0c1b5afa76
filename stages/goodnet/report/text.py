"""The report's words, in Markdown."""

from goodnet.pruning.rankings.registry import RANKINGS
from goodnet.report import markdown
from goodnet.suspects import findings


def metrics_table(badnet, repaired, goodnet):
    """Return a table of all nets' metrics."""
    triggers = list(badnet["attack_success"])
    head = ["net", "channels pruned", "clean accuracy", *(f"attack: {name}" for name in triggers)]
    head += [*(f"detected: {name}" for name in triggers), "false alarm"]

    def row(name, metrics):
        values = [metrics["clean_accuracy"], *(metrics["attack_success"][trigger] for trigger in triggers)]
        values += [metrics.get("detected", {}).get(trigger) for trigger in triggers]
        values.append(metrics.get("false_alarm"))
        return [name, metrics.get("channels_pruned", ""), *map(markdown.percent, values)]

    rows = [row("BadNet B", badnet)]
    rows += [row(f"repaired {name}", repaired[name]) for name in repaired]
    rows += [row(f"GoodNet {name}", goodnet[name]) for name in goodnet]
    return markdown.table(head, rows)


ATTACKED = """All figures are percent of test images. Attack: poisoned images given the attacker's class.
Detected: poisoned images answered "backdoored". False alarm: clean images answered "backdoored"."""
UNATTACKED = """All figures are percent of test images. False alarm: clean images answered "backdoored".
There were no poisoned images, so nothing here tells whether an attack would still succeed."""
LESSON = "Where the blue lines fall before the others, pruning costs accuracy before it stops the attack.\n\n"
OUTCOMES = {
    "held": """A fresh attack on it needs a trigger about as large as for classes that nobody named.
The triggers found in B move at most {moved:.0f} % of images.""",
    "not held": """A fresh attack on it needs a far smaller trigger than for classes that nobody named,
or one found in B still moves many images (at most {moved:.0f} %).""",
    "cannot tell": """A fresh attack on it needs a smaller trigger than for classes that nobody named, but not
far smaller, or one found in B still moves some images (at most {moved:.0f} %).""",
}


def verdict(evidence, found, metrics):
    """Say what is known of the BadNet and its repairs.

    Parameters
    ----------
    evidence : dict
        {detector: Evidence}.
    found : verdict.Verdict
    metrics : dict
        What reports/suspects.json holds.
    """
    lines = [f"**BadNet B.** {findings.sentence(evidence, found)}"]
    if not findings.goals(found):
        lines.append(
            "**Repairs.** No class was named, so no repair was attacked. "
            "Nothing is known about whether one would hold."
        )
    for outcome, says in OUTCOMES.items():
        those = [one for one in metrics.get("repaired", []) if one["outcome"] == outcome]
        if those:
            named = ", ".join(map(_with_ratio, those))
            moved = max(one["moved"] for one in those)
            lines.append(f"**{outcome.capitalize()}:** {named}. {says.format(moved=moved)}")
    if "repaired" in metrics:
        lines.append("In brackets: the size of the smallest trigger of a fresh attack, where 1 is usual.")
    return "\n\n".join(lines)


def _with_ratio(repair):
    """Return a repair's name, with what a fresh attack on it needs if it was searched."""
    ratio = repair.get("ratio")
    return f"*{repair['name']}*" if ratio is None else f"*{repair['name']}* ({ratio:.2f})"


def text(net, note, recommended, layer, order, repairs, attacked, metrics_table, suspicion):
    """Return the report in Markdown.

    Parameters
    ----------
    net : str
        Its name.
    note : str or None
        What is to be said of the test images.
    recommended : str
        Which repair to use, and why, in a sentence.
    layer : str or None
        The layer that splits it, if any does.
    order : str or None
        The ranking that repairs prune by, if any prunes.
    repairs : dict
        {name: its line of params.yaml}.
    attacked : bool
        Whether there were poisoned images.
    metrics_table, suspicion : str
        From `metrics_table` and `verdict`.
    """
    lines = "\n".join(f"- {name}: {in_words(line)}" for name, line in repairs.items())
    pruned = ""
    if order:
        pruned = f"""![Accuracy and attack success over pruned channels](pruning.png)

{LESSON if attacked else ""}![Mean activation of each channel](activations.png)

"""
    return f"""# Report: {net}

**Use** {recommended}

The repaired nets, made with clean validation images alone:

{lines}

{_channels(layer, order)}
A GoodNet answers the class on which its repaired net agrees with the BadNet, and else "backdoored".

{" ".join(filter(None, (ATTACKED if attacked else UNATTACKED, note)))}

{metrics_table}

{pruned}![Repaired nets against their GoodNets](repairs.png)

## Is there a backdoor?

Judged by clean images alone:

{suspicion}

![Sizes of the smallest triggers, the triggers found, and fresh attacks on the repairs](suspects.png)

A large enough change of the images moves every net to every class. Each dot is a class that was tried and
the size of the change it needs: an attacker's class needs far less than is usual. Below are the triggers
found for each named class, beside the true one where it is known. The table says how each repair withstood
fresh attacks.

## Images

![Sample images and what each net says of them](samples.png)

Green: the answer is what it should be, the image's own class or, with a trigger, anything but the attacker's.
Red: it is not.
"""


def in_words(line):
    words = []
    if "drop" in line:
        words.append(f"pruned until validation accuracy has fallen by {line['drop']} points")
    if "tune" in line:
        span = f" from {line['from']} to {line['to']} percent" if "to" in line else ""
        words.append(f"{'then ' if words else ''}tuned by *{line['tune']}*{span}")
    return ", ".join(words)


def _channels(layer, order):
    if layer is None:
        return "No layer splits the net in two, so channels cannot be pruned and no layers are shared."
    if order is None:
        return f"The net is split at layer {markdown.code(layer)}. No repair prunes."
    rule = RANKINGS[order].meaning.removesuffix(".")
    rule = rule[0].lower() + rule[1:]
    return f"Channels are those of layer {markdown.code(layer)}, pruned in the order *{order}*: {rule}."
