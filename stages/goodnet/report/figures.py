"""The report's pictures. Each takes what it shows and returns a figure."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from goodnet.files.outputs import replacing

STYLE = {
    "figure.dpi": 120,
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
CLEAN, REPAIRED, GOODNET, QUIET = "#1f5a94", "#e09f3e", "#2f855a", "#8a94a0"
FOREMOST, ACROSS = 10, 3  # classes that are shown; named ones side by side
ATTACKS = ["#c0392b", "#8e44ad", "#d35400", "#7f1d1d", "#ad1457"]  # a colour for each trigger, in turn


def style():
    """Return a context in which figures are drawn and saved in the report's style."""
    return matplotlib.rc_context(STYLE)


def save(figure, path):
    """Save a figure, the same bytes each time."""
    with replacing(path) as partial:
        figure.savefig(partial, metadata={"Software": None})


def pruning(curve, attack_curve, marks):
    """Draw accuracy and attack success over pruned channels.

    Parameters
    ----------
    curve : list of dict
        Clean validation accuracy, a row for each number of pruned channels.
    attack_curve : list of dict
        The same on test images, with a column attack_success.<trigger> for each trigger.
    marks : dict
        {repair: channels it prunes}.
    """
    if not curve:
        return _nothing()
    figure = Figure(figsize=(9, 4.8))
    axes = figure.subplots()
    steps = [int(row["channels_pruned"]) for row in curve]

    def draw(rows, column, **style):
        axes.plot(steps, [float(row[column]) for row in rows], **style)

    draw(curve, "clean_accuracy", color=CLEAN, linewidth=2.2, label="clean accuracy, validation")
    draw(attack_curve, "clean_accuracy", color=CLEAN, linestyle=":", label="clean accuracy, test")
    triggers = [name for name in attack_curve[0] if name.startswith("attack_success.")]
    for number, column in enumerate(triggers):
        label = f"attack success, {column.removeprefix('attack_success.')}"
        draw(attack_curve, column, color=ATTACKS[number % len(ATTACKS)], label=label)
    _mark(axes, marks, height=0.42)
    axes.set(
        xlabel="channels pruned",
        ylabel="percent of images",
        xlim=(0, steps[-1]),
        ylim=(0, 101),
    )
    axes.set_title(f"Accuracy{' and attack success' if triggers else ''} as channels are pruned")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="lower left")
    return figure


def _nothing():
    figure = Figure(figsize=(9, 1))
    figure.text(0.5, 0.5, "No repair prunes: there is no pruning curve.", ha="center", va="center")
    return figure


def _mark(axes, marks, height):
    """Draw a named line at each place in `marks`; repairs that prune equally many share one."""
    names = {}
    for name, place in marks.items():
        names.setdefault(place, []).append(name)
    for place, together in names.items():
        axes.axvline(place, color=QUIET, linewidth=0.8, zorder=0)
        axes.annotate(
            ", ".join(together),
            (place, height),
            xycoords=("data", "axes fraction"),
            xytext=(2, 0),
            textcoords="offset points",
            rotation=90,
            va="top",
            color="#4a5560",
        )


def activations(channels, order, marks):
    """Draw each channel's mean activation, in the order they are pruned.

    Parameters
    ----------
    channels : list of dict
        A row for each channel.
    order : list of int
        The channels, the first pruned first.
    marks : dict
        {repair: channels it prunes}.
    """
    if not channels:
        return _nothing()
    figure = Figure(figsize=(9, 3.6))
    axes = figure.subplots()
    means = np.array([float(channels[channel]["mean_activation"]) for channel in order])
    dormant = np.array([int(channels[channel]["images_active"]) == 0 for channel in order])
    places = np.arange(1, len(order) + 1)
    axes.bar(places, means, color=CLEAN, width=0.75)
    if dormant.any():
        axes.plot(
            places[dormant],
            np.zeros(dormant.sum()),
            linestyle="",
            marker="o",
            markerfacecolor="white",
            markeredgecolor=ATTACKS[0],
            clip_on=False,
            zorder=3,
            label=f"dormant: zero on every validation image ({dormant.sum()})",
        )
        axes.legend(loc="upper left" if means[0] < means[-1] else "upper right")
    _mark(axes, {name: count + 0.5 for name, count in marks.items()}, height=0.72)
    axes.set(
        title=f"Mean activation of the {len(order)} channels of {channels[0]['layer']}",
        xlabel="channels, the first pruned first; each repair prunes all to the left of its line",
        ylabel="mean activation",
        xlim=(0.3, len(order) + 0.7),
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def repairs(badnet, repaired, goodnet):
    """Draw each repaired net against its GoodNet.

    Parameters
    ----------
    badnet : dict
        The BadNet's metrics.
    repaired, goodnet : dict of dict
        {repair: metrics}.
    """
    triggers = list(badnet["attack_success"])
    figure = Figure(figsize=(max(6, 4.2 * (len(triggers) + 1)), 6.4))
    panels = figure.subplots(2, len(triggers) + 1, sharey=True, squeeze=False)
    places, names = np.arange(len(repaired)), list(repaired)

    def bars(axes, shift, values, color, net):
        drawn = axes.bar(places + shift, values, 0.36, color=color, label=net)
        labels = axes.bar_label(
            drawn, ["100" if value > 99.95 else f"{value:.1f}" for value in values], fontsize=7.5, padding=2
        )
        for label in labels:
            label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5})

    def against(axes, title, value):
        bars(axes, -0.2, [value(repaired[name]) for name in names], REPAIRED, "repaired net B'")
        bars(axes, 0.2, [value(goodnet[name]) for name in names], GOODNET, "GoodNet G")
        axes.axhline(value(badnet), color="black", linestyle="--", linewidth=1, label="BadNet B")
        axes.set_title(title)

    against(panels[0, 0], "Clean accuracy", lambda metrics: metrics["clean_accuracy"])
    bars(panels[1, 0], 0, [goodnet[name]["false_alarm"] for name in names], QUIET, "GoodNet G")
    panels[1, 0].set_title("False alarms: clean, called backdoored")
    for column, trigger in enumerate(triggers, start=1):
        against(
            panels[0, column],
            f"Attack success, {trigger}",
            lambda metrics, trigger=trigger: metrics["attack_success"][trigger],
        )
        detected = [goodnet[name]["detected"][trigger] for name in names]
        bars(panels[1, column], 0, detected, GOODNET, "GoodNet G")
        panels[1, column].set_title(f"Detected, {trigger}")
    for axes in panels.flat:
        axes.set_xticks(places, names)
        axes.set_ylim(0, 108)
    for row in panels:
        row[0].set_ylabel("percent of images")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def samples(rows, classes):
    """Draw sample images with what each net says of them.

    Parameters
    ----------
    rows : dict
        {title: list of (image, label, BadNet's answer, {repair: (repaired's, GoodNet's answer)})};
        a label is the class wanted or, where the title is a trigger's, the attacker's.
    classes : int
        The answer that means backdoored.
    """
    columns = max(len(row) for row in rows.values())
    lines = 1 + len(next(iter(rows.values()))[0][3])
    # In inches: pictures side by side, a title above each row, a line for each net below.
    across, gap, title_height, line_height = 1.75, 0.1, 0.3, 0.15
    down = across * 55 / 47
    row_height = title_height + down + lines * line_height + 0.15
    width, height = gap + columns * (across + gap), 0.4 + len(rows) * row_height
    figure = Figure(figsize=(width, height), layout="none")

    def write(x, y, text, **style):
        figure.text(x / width, y / height, text, va="top", **style)

    write(
        gap, height - 0.08, "What B, each repaired net B' and its GoodNet G say", weight="bold", fontsize=12
    )
    for number, (title, row) in enumerate(rows.items()):
        attacked = title != "clean"
        top = height - 0.4 - number * row_height
        wanted = f"trigger {title}: the attacker wants {row[0][1]}" if attacked else title
        write(gap, top - 0.06, wanted, weight="bold", fontsize=9)
        for column, (image, label, badnet, answers) in enumerate(row):
            left, bottom = gap + column * (across + gap), top - title_height - down
            axes = figure.add_axes((left / width, bottom / height, across / width, down / height))
            axes.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axes.axis("off")
            said, longest = [(f"B {badnet}", badnet)], max(map(len, answers))
            for name, (repaired, goodnet) in answers.items():
                last = "backdoored" if goodnet == classes else goodnet
                said.append((f"{name:<{longest}} B' {repaired:<4} G {last}", goodnet))
            for line, (text, answer) in enumerate(said):
                wrong = (answer == label) == attacked
                size = min(7, 221 / (longest + 21))  # so that a line is no wider than its picture
                style = {"family": "monospace", "fontsize": size, "color": ATTACKS[0] if wrong else GOODNET}
                write(left, bottom - 0.04 - line * line_height, text, **style)
    return figure


def suspects(shares, pictures, found):
    """Draw to which classes random patterns change images in each net, and the triggers' shadows.

    Parameters
    ----------
    shares : dict
        {net: array of each class's share}, where all classes of the BadNet, which is None, are 100.
    pictures : dict
        {named class: (shadow, pattern)}.
    found : dict
        What reports/suspects.json holds.
    """
    rows = -(-len(pictures) // ACROSS)
    top, below = 1.6 + 0.32 * max(5, len(shares)), 2.2 * rows
    figure = Figure(figsize=(9, top + below))
    if not rows:
        _shares(figure.subplots(), shares, pictures)
    else:
        panels = figure.subfigures(2, 1, height_ratios=[top, below])
        left, right = panels[0].subplots(1, 2, width_ratios=[1.15, 1])
        _shares(left, shares, pictures)
        _moved(right, found)
        panels[0].legend(loc="outside lower right", ncols=4)
        for axes in (places := panels[1].subplots(rows, 2 * ACROSS, squeeze=False)).flat:
            axes.axis("off")
        for (shadow, pattern), (number, both) in zip(places.reshape(-1, 2), pictures.items(), strict=False):
            for axes, picture in zip((shadow, pattern), both, strict=True):
                axes.imshow(picture.squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            shadow.set_title(f"class {number}: shadow", fontsize=9)
            pattern.set_title("best pattern", fontsize=9, weight="normal")
    return figure


def _shares(axes, shares, named):
    """Write the shares of the foremost classes, a row a net."""
    table = np.array(list(shares.values()))
    foremost = np.argsort(-table.max(axis=0), kind="stable")[:FOREMOST]
    foremost = foremost[np.argsort(-table[0, foremost], kind="stable")]
    table = table[:, foremost]
    axes.imshow(np.sqrt(table), cmap="Reds", aspect="auto", vmin=0, vmax=1.4 * np.sqrt(table.max()) or 1)
    for (row, column), share in np.ndenumerate(table):
        axes.text(column, row, f"{share:.{int(share < 10)}f}", ha="center", va="center", fontsize=7.5)
    axes.set_yticks(range(len(shares)), ["B" if name is None else name for name in shares])
    axes.set_xticks(range(len(foremost)), foremost)
    for number, label in zip(foremost, axes.get_xticklabels(), strict=True):
        if number in named:
            label.set(color=ATTACKS[0], weight="bold")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("class; red: named" if named else "class; none is named")
    axes.set_title("Changed to one class, where B is 100")


def _moved(axes, found):
    """Draw what the patterns of each named class do in each net."""
    named = [one["class"] for one in found["classes"]]
    nets = {"B": found} | {net["name"]: net for net in found.get("repaired", [])}
    for place, number in enumerate(named):
        shift = (place - (len(named) - 1) / 2) * 0.8 / len(named)
        values = [net["classes"][place]["moved"] for net in nets.values()]
        colour = ATTACKS[place % len(ATTACKS)]
        places = np.arange(len(nets)) + shift
        axes.barh(places, values, 0.8 / len(named), color=colour, label=f"class {number}")
    axes.set_yticks(range(len(nets)), nets)
    axes.invert_yaxis()  # in the order of the table beside it
    axes.set(xlim=(0, 103), xlabel="percent of images")
    axes.set_title("Changed by their best patterns")
