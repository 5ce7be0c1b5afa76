"""The report's pictures. Each takes what it shows and returns a figure."""

import textwrap
from itertools import cycle

import matplotlib
import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from goodnet.files.outputs import replacing
from goodnet.suspects import findings, fresh, inverter
from goodnet.suspects.inverter import ANY

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
HEADING = {"x": 0.005, "ha": "left", "weight": "bold", "fontsize": 11}  # of a part of a figure
MOST_GOALS = 6  # classes whose triggers are shown
FAMILIES = {  # what the report calls a family of triggers, and what its sizes are
    "patch": ("patch", "percent of the image"),
    "additive": ("faint pattern", "percent of the range"),
    "occluder": ("random pattern", "percent of the image"),
}
PANEL = 280  # points across a panel of bars
LEAST_SIZE = 0.01  # percent; the axis is logarithmic
OUTCOMES = {"held": "#1d8f86", "cannot tell": "#e9b44c", "not held": "#a8322a"}  # told apart by all eyes
INK = "#2d3640"
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
    room = PANEL / max(1, len(names)) / max(map(len, names), default=1)  # for a letter
    for axes in panels.flat:
        axes.set_xticks(places, names, fontsize=min(10, 1.6 * room))
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


def suspects(evidence, found, metrics, images):
    """Draw the smallest triggers' sizes, those of named classes over images, and how repairs withstood.

    Parameters
    ----------
    evidence : dict
        {detector: Evidence}.
    found : verdict.Verdict
    metrics : dict
        What reports/suspects.json holds.
    images : dict
        {goal: (clean image, {true trigger's name: image with it})}, of the goals to show.
    """
    colours = dict(zip(findings.goals(found), cycle(ATTACKS), strict=False))
    columns = evidence["inversion"].columns if "inversion" in evidence else {}
    sizes = {name.removesuffix("_size"): columns[name] for name in columns if name.endswith("_size")}
    rows = {goal: _pictures(evidence, goal, *both) for goal, both in images.items()}
    across = max([5, *map(len, rows.values())])
    repaired = metrics.get("repaired", [])
    names = [textwrap.fill(one["name"], 30) for one in repaired]
    lines = [0.34 + 0.16 * name.count("\n") for name in names]

    heights = [1.45 * len(sizes) or 0.6]  # of the parts, in inches
    for row in rows.values():
        height, width = row[0][1].shape[:2]
        heights.append(0.85 + (9 / across - 0.1) * min(height / width, 1.5))
    heights += [0.75 + sum(lines)] if repaired else []
    figure = Figure(figsize=(9, sum(heights)))
    figure.get_layout_engine().set(h_pad=0.08)
    panels = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    if sizes:
        _strips(panels[0], sizes, evidence, found, colours)
    else:
        why = f"nothing was searched, since {found.reason}" if found.reason else "the inversion was not run"
        panels[0].text(0.01, 0.5, f"No smallest triggers: {why}.", va="center")
    for panel, goal in zip(panels[1:], rows, strict=False):
        panel.suptitle(_heading(goal, found, metrics), color=colours[goal], **HEADING)
        places = panel.subplots(1, across)
        for axes in places:
            axes.axis("off")
        for axes, (title, image) in zip(places, rows[goal], strict=False):
            axes.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axes.set_title(title, fontsize=8.5, weight="normal")
    if repaired:
        _withstood(panels[-1], repaired, names, lines, colours)
    return figure


def _strips(panel, sizes, evidence, found, colours):
    """Draw {family: sizes of all classes}, a strip a family."""
    any_class = {one.family: one.size for one in findings.best_triggers(evidence, ANY)}
    strips = panel.subplots(len(sizes), 1, squeeze=False)[:, 0]
    for axes, family in zip(strips, sizes, strict=True):
        _strip(axes, family, sizes[family], any_class.get(family), found.doubtful, colours)
    for kind, there, face, edge in (
        ("named", found.named, ATTACKS[0], "white"),
        ("doubtful", found.doubtful, "white", INK),
        ("not named", True, QUIET, "white"),
    ):
        if there:
            strips[0].plot([], [], "o", markerfacecolor=face, markeredgecolor=edge, label=kind)
    beside_title = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderpad": 0, "ncols": 3}
    strips[0].legend(**beside_title, fontsize=8.5, handletextpad=0)


def _strip(axes, family, sizes, any_class, doubtful, colours):
    """Draw the size of each class's smallest trigger, and of the one that changes any answer, if any."""
    marks = {number: sizes[number] for number in np.flatnonzero(np.isfinite(sizes)).tolist()}
    others = [size for number, size in marks.items() if number not in colours]
    usual = np.median(others or list(marks.values()))
    if any_class is not None:
        marks[ANY] = any_class
    # Large marks come first; the small ones give way.
    numbers = sorted(marks, key=lambda one: (one not in colours, one not in doubtful, marks[one]))
    values = np.maximum([marks[number] for number in numbers], LEAST_SIZE)
    limits = min(values.min() / 1.3, usual / 15), values.max() * 1.3
    inches = 8.8 * np.log(values / limits[0]) / np.log(limits[1] / limits[0])
    radii = [0.12 if one in colours or one in doubtful else 0.05 for one in numbers]
    heights = _apart(inches, radii)
    top = max(0.32, np.abs(heights).max() + 0.2)

    axes.axvline(usual, color=QUIET, linestyle="--", linewidth=1, zorder=0)
    beside = {"xytext": (-4, 0), "textcoords": "offset points", "ha": "right", "va": "top"}
    size = f": {usual:.3g}" if usual < _largest(family) else ""
    axes.annotate(f"usual{size}", (usual, top), **beside, color=INK, fontsize=8.5)
    for number, value, height, radius in zip(numbers, values, heights, radii, strict=True):
        hollow = number in doubtful
        axes.plot(
            value,
            height,
            "s" if number == ANY else "o",
            markersize=144 * radius,
            markerfacecolor="white" if hollow else colours.get(number, QUIET),
            markeredgecolor=INK if hollow else "white",
            markeredgewidth=1.3 if hollow else 0.6,
            clip_on=False,
        )
        if number in colours or hollow:
            name = "any" if number == ANY else str(number)
            style = {"fontsize": 7 if len(name) < 4 else 5.5, "color": INK if hollow else "white"}
            axes.text(value, height, name, ha="center", va="center_baseline", weight="bold", **style)
    name, percent = FAMILIES.get(family, (family, "percent"))
    axes.set_title(f"Smallest {name} that leads to each class, {percent}")
    axes.set(xscale="log", xlim=limits, ylim=(-top, top))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda size, _: f"{size:g}" if size < _largest(family) else "none found")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_visible(False)
    axes.spines["left"].set_visible(False)


def _largest(family):
    """Return what a size counts as where no trigger was found."""
    return inverter.FAMILIES[family].largest if family in inverter.FAMILIES else np.inf


def _apart(places, radii):
    """Return heights at which circles at these places are apart, each as near to 0 as those before allow."""
    heights = np.zeros(len(places))
    steps = sorted(np.arange(-50, 51) * 0.04, key=abs)
    for one in range(len(places)):
        beside, least = places[:one] - places[one], np.add(radii[:one], radii[one])
        free = (height for height in steps if (np.hypot(beside, heights[:one] - height) >= least).all())
        heights[one] = next(free, 0)
    return heights


def _heading(goal, found, metrics):
    if goal != ANY:
        tests = next(one["tests"] for one in metrics["classes"] if one["class"] == goal)
        return f"Class {goal}; tests that point to it: {tests}"
    leads = [f"{one} to {other}" for one, other in found.leads.to.items()]
    return f"Any class, each to another: {', '.join(leads[:8])}{', ...' if len(leads) > 8 else ''}"


def _pictures(evidence, goal, clean, true):
    """Return titles and images: without a trigger, with the best of each family, with the true one."""
    best = {}
    for one in findings.best_triggers(evidence, goal):
        if one.size < _largest(one.family):
            best.setdefault(one.family, one)
    shown = [("clean", clean)]
    for family in sorted(best, key=[*FAMILIES, *best].index):
        one = best[family]
        name = FAMILIES.get(family, (family,))[0]
        title = f"{name}, {one.size:.2g} %:\nmoves {one.moved:.0f} %"
        shown.append((title, _as_picture(inverter.laid(clean, one.keep, one.add))))
        if (one.keep == 1).all():
            times = 127.5 / max(np.abs(one.add).max(), 1e-9)
            shown.append((f"it alone,\n{times:.2g} times as strong", _as_picture(127.5 + times * one.add)))
    return shown + [(f"true trigger:\n{textwrap.fill(name, 22)}", image) for name, image in true.items()]


def _as_picture(pixels):
    return pixels.round().astype(np.uint8)


def _withstood(panel, repaired, names, lines, colours):
    """Write how each repair withstood a fresh attack, a line a repair, so many inches high."""
    goals = [one["class"] for one in repaired[0]["goals"][:MOST_GOALS]]
    head = ["outcome", *("any class" if goal == "any" else f"class {goal}" for goal in goals), "B's triggers"]
    bounds = np.cumsum([0, *lines])
    middles = (bounds[1:] + bounds[:-1]) / 2
    panel.suptitle("Fresh attacks on the repaired nets: size of the trigger, where 1 is usual", **HEADING)
    axes = panel.subplots()
    strong = [1, *[0.25] * (len(head) - 1)]
    shades = [[to_rgba(OUTCOMES[one["outcome"]], alpha) for alpha in strong] for one in repaired]
    axes.pcolormesh(np.arange(len(head) + 1), bounds, shades, edgecolor="white", linewidth=2)
    for one, middle in zip(repaired, middles, strict=True):
        ratios = map(fresh.ratio, one["goals"][:MOST_GOALS])
        needed = ("not searched" if ratio is None else f"{ratio:.2f}" for ratio in ratios)
        cells = [one["outcome"], *needed, f"move {one['moved']:.0f} %"]
        for column, cell in enumerate(cells):
            dark = column or cell == "cannot tell"
            style = {"color": INK if dark else "white", "weight": "normal" if column else "bold"}
            axes.text(column + 0.5, middle, cell, ha="center", va="center_baseline", fontsize=9, **style)
    axes.set(xlim=(0, max(6, len(head))), ylim=(bounds[-1], 0))
    axes.xaxis.tick_top()
    axes.set_xticks(np.arange(len(head)) + 0.5, head)
    axes.set_yticks(middles, names)
    axes.tick_params(length=0)
    for label, goal in zip(axes.get_xticklabels()[1:], goals, strict=False):
        label.set(color=colours[ANY if goal == "any" else goal], weight="bold")
    axes.spines[:].set_visible(False)
