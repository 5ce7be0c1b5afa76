"""goodnet on arrays and Keras models: what the pipeline does, without its files.

Images are plain pixels: arrays (n, height, width, channels) of 0 to 255, red first. What the net takes of
them is `net_input`: 255 or 1 for inputs from 0 to that, or an `Input`. `settings` are what params.yaml holds,
as a dict; what is left out has its default.

No call changes the nets it is given, seeds, types or other settings of Python, NumPy, Keras and TensorFlow,
and nothing is printed: `progress` is called with (step, done, total).

The examples in this module go on from these lines. They make a small backdoored net that knows eight people,
and choose settings that take seconds; leave them out for nets of your own.

>>> import goodnet
>>> example = goodnet.make_example()
>>> net, images, labels = example.net, example.images, example.labels
>>> quick = {
...     "detectors": {
...         "occluders": {"images": 100, "occluders": 1000},
...         "inversion": {"images": 100, "steps": 40},
...     },
...     "tunings": {"relearn": {"epochs": 8}, "unlearn": {"epochs": 10, "steps": 30}},
... }
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from goodnet.errors import InputError
from goodnet.evaluation import metrics, tested
from goodnet.files import archive
from goodnet.images import datasets, inputs
from goodnet.images.inputs import Input
from goodnet.methods import Registry, chosen
from goodnet.nets import goodnets, loading, parts, running, splitting
from goodnet.params import Given
from goodnet.process import guest
from goodnet.pruning import activity, channels, curve, sweep
from goodnet.pruning.rankings import masks
from goodnet.pruning.rankings import registry as rankings
from goodnet.quarantine import opening
from goodnet.quarantine.limits import Limits
from goodnet.repairs import plans, repairing, training
from goodnet.repairs import recommend as recommending
from goodnet.repairs.registry import TUNINGS
from goodnet.suspects import evidence as found_by
from goodnet.suspects import findings, fresh, inversion, verdict
from goodnet.suspects import registry as detectors
from goodnet.suspects.evidence import Evidence, Trigger
from goodnet.telling import Progress, within

if TYPE_CHECKING:
    import keras

    Ints = npt.NDArray[np.int64]
else:
    from goodnet.lazy import keras

__all__ = [
    "REPAIRS",
    "Attack",
    "Evaluation",
    "Evidence",
    "Example",
    "Input",
    "InputError",
    "PruningCurve",
    "Recommendation",
    "Repaired",
    "Suspects",
    "Trigger",
    "attack",
    "evaluate",
    "find_suspects",
    "join",
    "load",
    "make_example",
    "prune",
    "pruning_curve",
    "rank",
    "recommend",
    "repair",
    "save",
]

Settings = Mapping[str, Any]

REPAIRS: Mapping[str, Settings] = {  # those of params.yaml
    "unlearned": {"tune": "unlearn"},
    "relearned": {"tune": "relearn"},
    "x02": {"drop": 2},
    "x10": {"drop": 10},
    "x30": {"drop": 30},
}
NET = "the net"  # what errors call it
METHODS: dict[str, Registry[Any]] = {
    "rankings": rankings.RANKINGS,
    "tunings": TUNINGS,
    "detectors": detectors.DETECTORS,
}
BLOCKS = (  # of params.yaml
    *(
        "badnet",
        "nets",
        "profile",
        "prune",
        "rankings",
        "repairs",
        "tunings",
        "recommend",
        "suspect",
        "attack",
    ),
    *("detectors", "demo_data", "demo_badnet"),
)
CHECKED = 256  # labelled images that tell whether the net takes the input that was said


@dataclass(frozen=True, eq=False)
class Suspects:
    """What was found in a net.

    Parameters
    ----------
    evidence : dict
        {detector: Evidence}.
    found : suspects.verdict.Verdict
    """

    evidence: dict[str, Evidence]
    found: verdict.Verdict

    @property
    def verdict(self) -> str:
        """The word: "backdoored", "no sign of a backdoor" or "cannot tell"."""
        return str(self.found.word)

    @property
    def classes(self) -> list[int]:
        """The classes that are named as the attacker's, ascending."""
        return list(self.found.named)

    @property
    def doubtful(self) -> list[int]:
        """The classes that something speaks for, but not enough."""
        return list(self.found.doubtful)

    @property
    def is_all_to_all(self) -> bool:
        """Whether a trigger was found that leads each class to another of its own."""
        return self.found.leads is not None

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        return str(findings.sentence(self.evidence, self.found))

    @property
    def triggers(self) -> list[Trigger]:
        """The triggers that lead to the named classes; of each class, what moves most for its size first."""
        goals = findings.goals(self.found)
        return [one for goal in goals for one in findings.best_triggers(self.evidence, goal)]

    def __repr__(self) -> str:
        return f"<Suspects: {self.sentence}>"


@dataclass(frozen=True, eq=False)
class PruningCurve:
    """Clean accuracy after each pruned channel.

    Parameters
    ----------
    channels : array of int
        In the order they are pruned.
    correct : array of int
        Right answers after 0, 1, 2, ... pruned channels.
    images : int
        Images asked.
    """

    channels: "Ints"
    correct: "Ints"
    images: int

    @property
    def accuracy(self) -> npt.NDArray[np.float64]:
        """Percent of right answers after 0, 1, 2, ... pruned channels."""
        return 100 * self.correct / self.images

    def to_drop(self, points: float) -> list[int]:
        """Return the channels whose pruning first costs at least so many points of accuracy, ascending."""
        settings = plans.Line.check({"drop": points}, "to_drop")
        rows = curve.rows("", self.channels, self.correct, self.images)
        try:
            return list(plans.channels_for(settings.drop, rows))
        except ValueError as error:
            raise InputError(str(error)) from None


@dataclass(frozen=True)
class Attack:
    """What a fresh attack on a repaired net came to.

    Parameters
    ----------
    outcome : str
        "held", "not held", "cannot tell", or "nothing to attack" where no class was named.
    ratio : float or None
        What the attack needs for the named classes, against what it needs for others; the worst.
    moved : float or None
        Percent of images that the triggers found in B still move.
    goals : list of dict
        The same of each named class, of each kind of trigger.
    """

    outcome: str
    ratio: float | None
    moved: float | None
    goals: list[dict[str, Any]]


@dataclass(frozen=True)
class Evaluation:
    """Rates of a net, in percent of the images.

    Parameters
    ----------
    clean_accuracy : float
    attack_success : dict
        {trigger: images with it that get the attacker's class}.
    detected : dict or None
        {trigger: images with it that are called backdoored}; None of a net that is no GoodNet.
    false_alarm : float or None
        Clean images that are called backdoored.
    """

    clean_accuracy: float
    attack_success: dict[str, float]
    detected: dict[str, float] | None = None
    false_alarm: float | None = None


@dataclass(frozen=True, eq=False)
class Repaired:
    """A repaired net, and what is known of it.

    Parameters
    ----------
    line : dict
        What was done, as a line of `repairs`.
    net : keras.Model
    attack : Attack
    accuracy : float
        Percent of the held-out clean images that it gets right.
    """

    line: Settings
    net: "keras.Model"
    attack: Attack
    accuracy: float


@dataclass(frozen=True, eq=False)
class Recommendation:
    """The repair to use, and why.

    Parameters
    ----------
    name : str or None
        Of the repair; None where none is recommended.
    why : str
        In a sentence.
    repaired, goodnet : keras.Model or None
        The repaired net, and the GoodNet of it and B.
    repairs : dict
        {name: Repaired}, all that were made.
    suspects : Suspects
    accuracy : float
        Percent of the held-out clean images that B gets right.
    held_out : int
        How many images those are.
    """

    name: str | None
    why: str
    repaired: "keras.Model | None"
    goodnet: "keras.Model | None"
    repairs: dict[str, Repaired]
    suspects: Suspects
    accuracy: float
    held_out: int

    def __repr__(self) -> str:
        return f"<Recommendation: {self.why}>"


@dataclass(frozen=True, eq=False)
class Example:
    """A small backdoored net with its images.

    Parameters
    ----------
    net : keras.Model
    images, labels : arrays
        Clean ones, for the defender.
    test_images, test_labels : arrays
        Clean ones, to measure by.
    poisoned : dict
        {trigger: (test images with it, the attacker's class)}.
    """

    net: "keras.Model"
    images: npt.NDArray[np.uint8]
    labels: "Ints"
    test_images: npt.NDArray[np.uint8]
    test_labels: "Ints"
    poisoned: dict[str, tuple[npt.NDArray[np.uint8], int]]


class _Taken:
    """A net as it was given, checked: a copy of our own, its archive, its split and its input."""

    def __init__(
        self,
        net: "keras.Model",
        net_input: "Input | float" = 255,
        settings: Settings | None = None,
        called: str = NET,
        may_be_goodnet: bool = False,
    ) -> None:
        if not isinstance(net, keras.Model):
            raise InputError(f"{called} is a {type(net).__name__}, not a Keras model")
        try:
            both = net.inputs, net.outputs
        except (AttributeError, ValueError):  # a subclass of Model, a Sequential that was never built
            both = None, None
        if not all(both):
            raise InputError(f"{called}: is not a functional or sequential net that knows its input")
        self.settings, self.called = _given(settings), called
        config, weights = loading.archived(loading.classifier(net, called))
        self.config, self.weights = archive.checked(config, weights, called)
        self.net = self.copy()
        if goodnets.is_goodnet(self.net) and not may_be_goodnet:
            raise InputError(f"{called}: is a GoodNet; give the net it is made of")
        self.shape, self.classes = parts.input_shape(self.net), parts.classes(self.net)
        self.convert = _input(net_input, self.shape[-1])
        self._layer: list[str | None] = []

    def copy(self) -> "keras.Model":
        return loading.of(self.config, self.weights, self.called)

    @property
    def layer(self) -> str | None:
        """The layer that splits the net, if there is one."""
        if not self._layer:
            name = self.settings.settings(splitting.Profile, "profile").layer
            self._layer.append(splitting.find(self.config, self.called, name))
        return self._layer[0]

    def pruned_layer(self) -> Any:
        if self.layer is None:
            raise InputError(f"{self.called}: no layer splits the net, so it cannot be pruned")
        return channels.find(self.config, self.called, self.layer)

    def images(self, pixels: npt.ArrayLike) -> Any:
        """Return images without labels, as pixels."""
        return datasets.Arrays(pixels, None, self.shape, None)

    def labelled(self, pixels: npt.ArrayLike, labels: npt.ArrayLike, converted: bool = False) -> Any:
        """Return images and labels; refuse those that tell that the net takes another input."""
        convert = self.convert if converted else None
        classes = goodnets.true_classes(self.net)
        images = datasets.Arrays(pixels, labels, self.shape, classes, convert)
        chosen = datasets.evenly(len(images), CHECKED)
        tried = {"net_input": self.convert, **inputs.RANGES}
        right = inputs.right_with(self.net, images.take(chosen), images.labels[chosen], tried)
        own, best = right.pop("net_input"), max(right, key=lambda words: right[words])
        if right[best] > 2 * own and right[best] - own >= len(chosen) / 4:
            raise InputError(
                f"{self.called} gets {own} of {len(chosen)} images right with this net_input, but "
                f"{right[best]} with inputs of {best}; say that"
            )
        return images


def _given(settings: Settings | None) -> Given:
    content = {} if settings is None else settings
    if not isinstance(content, Mapping):
        raise InputError(f"settings is {content!r}, not a dict as params.yaml holds it")
    for key, block in content.items():
        if key not in BLOCKS:
            raise InputError(f"settings has {key!r}; it can have {', '.join(BLOCKS)}, as params.yaml has")
        for name in block or {} if key in METHODS else ():
            chosen(METHODS[key], name, f"settings: one of {key}")
    return Given({key: _plain(block) for key, block in content.items()})


def _plain(block: Any) -> Any:
    return {key: _plain(value) for key, value in block.items()} if isinstance(block, Mapping) else block


def _input(net_input: "Input | float", channels: int) -> Input:
    if isinstance(net_input, Input):
        net_input.check_channels(channels, "net_input")
        return net_input
    is_number = isinstance(net_input, (int, float, np.number)) and not isinstance(net_input, bool)
    if not is_number or not 0 < net_input <= 255:
        raise InputError(
            f"net_input is {net_input!r}, not a number above 0 and up to 255, or a goodnet.Input"
        )
    return inputs.up_to(float(net_input))


def _suspects_of(suspects: Suspects, taken: _Taken) -> Suspects:
    if not isinstance(suspects, Suspects):
        raise InputError(f"suspects is a {type(suspects).__name__}, not what find_suspects returns")
    classes = suspects.found.totals.shape[1]
    if classes != taken.classes:
        raise InputError(f"suspects are of a net of {classes} classes; {taken.called} has {taken.classes}")
    return suspects


def load(path: str | Path, *, memory: float = 2.0, seconds: float = 20.0) -> "keras.Model":
    """Load a stranger's net: a file is opened in a process that may do nothing else.

    Parameters
    ----------
    path : str or Path
        A .keras file, or a whole net in HDF5 from Keras 2.2 to 3.
    memory : float
        Gigabytes that this may take, beside what Python and TensorFlow take.
    seconds : float
        Seconds of a processor that this may take.

    Returns
    -------
    keras.Model

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> goodnet.save(net, f"{folder.name}/net.keras")
    >>> goodnet.load(f"{folder.name}/net.keras").output_shape
    (None, 8)
    >>> goodnet.load(f"{folder.name}/other.keras")
    Traceback (most recent call last):
    ...
    goodnet.errors.InputError: ...other.keras: no such file
    """
    for name, value in {"memory": memory, "seconds": seconds}.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
            raise InputError(f"{name} is {value!r}, not a number above 0")
    if not Path(path).exists():
        raise InputError(f"{path}: no such file")
    return _load(Path(path), Limits(memory, seconds))


@guest.undisturbed
def _load(path: Path, limits: Limits) -> "keras.Model":
    return opening.net(path, limits)


@guest.undisturbed
def save(net: "keras.Model", path: str | Path) -> None:
    """Save a net as a .keras file whose bytes depend on the net alone; Keras's own `net.save` works too.

    Parameters
    ----------
    net : keras.Model
    path : str or Path
        Ends in .keras.

    Examples
    --------
    >>> goodnet.save(net, f"{folder.name}/again.keras")
    """
    if Path(path).suffix != ".keras":
        raise InputError(f"{path}: a net's file ends in .keras")
    loading.save(_Taken(net, may_be_goodnet=True).net, Path(path))


@guest.undisturbed
def find_suspects(
    net: "keras.Model",
    images: npt.ArrayLike,
    *,
    net_input: "Input | float" = 255,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Suspects:
    """Say whether a net is backdoored, and which classes the attacker wants.

    Parameters
    ----------
    net : keras.Model
    images : array (n, height, width, channels)
        Clean ones, at least 16; they need no labels.
    net_input : float or Input
    settings : dict, optional
        `suspect` and `detectors` are used.
    progress : callable (step, done, total), optional

    Returns
    -------
    Suspects

    Examples
    --------
    >>> suspects = goodnet.find_suspects(net, images, settings=quick)
    >>> suspects.verdict, suspects.classes
    ('backdoored', [3])
    >>> stamped = suspects.triggers[0].stamp(example.test_images)
    >>> bool((net(stamped).numpy().argmax(axis=1) == 3).mean() > 0.8)
    True
    """
    taken = _Taken(net, net_input, settings)
    return _suspects(taken, taken.images(images))


def _suspects(taken: _Taken, images: Any) -> Suspects:
    judged, methods = detectors.read(taken.settings)
    findings.check_count("images", len(images))
    case = found_by.Case(
        badnet=taken.net,
        layer=taken.layer,
        images=lambda most: datasets.spread(images, most)[0],
        convert=taken.convert,
    )
    return Suspects(*verdict.judge(case, methods, judged))


@guest.undisturbed
def rank(
    net: "keras.Model",
    images: npt.ArrayLike,
    labels: npt.ArrayLike,
    order: str | None = None,
    *,
    net_input: "Input | float" = 255,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> "Ints":
    """Return the channels of the layer that splits a net, the first to be pruned first.

    Parameters
    ----------
    net : keras.Model
    images : array (n, height, width, channels)
        Clean ones.
    labels : array (n,)
    order : str, optional
        A ranking, such as "ascending", "l1" or "anp"; by default that of the settings.
    net_input : float or Input
    settings : dict, optional
        `prune`, `profile` and `rankings` are used.
    progress : callable (step, done, total), optional

    Returns
    -------
    array of int

    Examples
    --------
    >>> order = goodnet.rank(net, images, labels, "ascending")
    >>> order.shape
    (60,)
    """
    taken = _Taken(net, net_input, settings)
    return _ranked(taken, taken.labelled(images, labels, converted=True), order)


def _ranked(taken: _Taken, images: Any, order: str | None = None) -> "Ints":
    layer = taken.pruned_layer()
    name = taken.settings.settings(rankings.Prune, "prune").order if order is None else order
    ranking = chosen(rankings.RANKINGS, name, "order")
    own = taken.settings.settings(ranking.settings, "rankings", name)
    given = rankings.Channels(
        activity.table(layer.name, running.run(parts.up_to(taken.net, layer.name), images.blocks())),
        channels.folded_kernel(taken.config, taken.weights, layer),
        lambda most: masks.split(taken.net, layer, images, most),
    )
    rows = rankings.rank(ranking, own, given, layer.name)
    return np.array([row["channel"] for row in rows], np.int64)


@guest.undisturbed
def pruning_curve(
    net: "keras.Model",
    images: npt.ArrayLike,
    labels: npt.ArrayLike,
    order: npt.ArrayLike,
    *,
    net_input: "Input | float" = 255,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> PruningCurve:
    """Measure clean accuracy after each pruned channel.

    Parameters
    ----------
    net : keras.Model
    images : array (n, height, width, channels)
    labels : array (n,)
    order : array of int
        All channels, the first to be pruned first, as from `rank`.
    net_input : float or Input
    settings : dict, optional
        `profile` is used.
    progress : callable (step, done, total), optional

    Returns
    -------
    PruningCurve

    Examples
    --------
    >>> curve = goodnet.pruning_curve(net, images, labels, order)
    >>> len(curve.accuracy), bool(curve.accuracy[0] > 95)
    (61, True)
    >>> len(curve.to_drop(10)) < 60
    True
    """
    taken = _Taken(net, net_input, settings)
    return _curve(taken, taken.labelled(images, labels, converted=True), order)


def _curve(taken: _Taken, images: Any, order: npt.ArrayLike) -> PruningCurve:
    layer = taken.pruned_layer().name
    trunk = parts.up_to(taken.net, layer)
    chosen = _channels(order, trunk.output_shape[-1])
    if len(chosen) != trunk.output_shape[-1]:
        raise InputError(f"order holds {len(chosen)} channels; layer {layer!r} has {trunk.output_shape[-1]}")
    blocks = running.run(trunk, images.blocks())
    correct = sweep.count_correct(taken.net, layer, blocks, images.labels, chosen)
    return PruningCurve(chosen, correct, len(images))


def _channels(given: npt.ArrayLike, count: int) -> "Ints":
    array = np.asarray(given)
    if array.size == 0:
        return np.zeros(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu" or len(set(array.tolist())) < len(array):
        raise InputError("channels are a list of different whole numbers")
    if array.min() < 0 or array.max() >= count:
        raise InputError(f"channels go from 0 to {count - 1}; there is {array.min()} to {array.max()}")
    return array.astype(np.int64)


@guest.undisturbed
def prune(net: "keras.Model", which: npt.ArrayLike, *, settings: Settings | None = None) -> "keras.Model":
    """Return a copy of a net without some channels of the layer that splits it.

    Parameters
    ----------
    net : keras.Model
    which : array of int
        The channels, such as ``order[:10]`` of `rank`, or what `PruningCurve.to_drop` returns.
    settings : dict, optional
        `profile` is used.

    Returns
    -------
    keras.Model

    Examples
    --------
    >>> pruned = goodnet.prune(net, curve.to_drop(10))
    >>> pruned is net
    False
    """
    taken = _Taken(net, settings=settings)
    layer = taken.pruned_layer()
    total = parts.up_to(taken.net, layer.name).output_shape[-1]
    gone = sorted(_channels(which, total).tolist())
    config, weights = channels.pruned(taken.config, taken.weights, layer, gone, total)
    return loading.of(config, weights, NET)


@guest.undisturbed
def repair(
    net: "keras.Model",
    images: npt.ArrayLike,
    labels: npt.ArrayLike,
    how: str | Settings,
    *,
    suspects: Suspects | None = None,
    net_input: "Input | float" = 255,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> "keras.Model":
    """Return a repaired copy of a net.

    Parameters
    ----------
    net : keras.Model
    images : array (n, height, width, channels)
        Clean ones. A tenth takes no part in training: `recommend` judges by it.
    labels : array (n,)
    how : str or dict
        A tuning, such as "unlearn", or a line as in `repairs` of params.yaml:
        ``{"drop": 10, "tune": "fine_tune", "epochs": 5}``.
    suspects : Suspects, optional
        What was found in the net. Without it they are looked for where the tuning wants to know them.
    net_input : float or Input
    settings : dict, optional
        `tunings`, `recommend` and `profile` are used; for a drop `prune` and `rankings` too.
    progress : callable (step, done, total), optional

    Returns
    -------
    keras.Model

    Examples
    --------
    >>> repaired = goodnet.repair(net, images, labels, "relearn", settings=quick)
    >>> goodnet.repair(net, images, labels, "forget")
    Traceback (most recent call last):
    ...
    goodnet.errors.InputError: the repair.tune is 'forget'; it can be relearn, unlearn, ft_sam, ...
    """
    taken = _Taken(net, net_input, settings)
    pixels = taken.labelled(images, labels)
    line = plans.read_line(
        taken.settings, "the repair", {"tune": how} if isinstance(how, str) else _plain(how)
    )
    if suspects is not None:
        suspects = _suspects_of(suspects, taken)
    elif line[1] is not None and TUNINGS[line[1]].wants_goals:
        suspects = _suspects(taken, pixels)
    (plan,) = _planned(taken, pixels, {"the repair": line}, suspects).values()
    return _repaired(taken, plan, pixels)


def _planned(
    taken: _Taken, pixels: Any, lines: dict[str, tuple[Any, Any, Any]], suspects: Suspects | None
) -> dict[str, dict[str, Any]]:
    """Return the plan of each line, as the stage of that name makes it."""
    held_out = taken.settings.settings(recommending.Recommend, "recommend").held_out
    goals = [] if suspects is None else findings.suspected(suspects.found)
    rows = []
    if any(drop is not None for drop, _, _ in lines.values()):
        converted = datasets.Arrays(pixels.pixels, pixels.labels, taken.shape, taken.classes, taken.convert)
        found = _curve(taken, converted, _ranked(taken, converted))
        rows = curve.rows(taken.layer, found.channels, found.correct, found.images)
    made = {name: plans.plan(taken.layer, goals, held_out, *line, rows) for name, line in lines.items()}
    for name, plan in made.items():
        if "impossible" in plan:
            raise InputError(f"{name}: {plan['impossible']}")
    return made


def _repaired(taken: _Taken, plan: dict[str, Any], pixels: Any) -> "keras.Model":
    config, weights, pruned = repairing.pruned(taken.config, taken.weights, plan, taken.called)
    net = loading.of(config, weights, taken.called)
    if plan["tune"] is not None:
        tuning = repairing.tuning(plan, "the repair.tune")
        with tempfile.TemporaryDirectory() as scratch:
            both, kept = (taken.copy(), net), training.Unkept()
            repairing.tune(tuning, plan, *both, pruned, pixels, taken.convert, kept, Path(scratch))
    return net


@guest.undisturbed
def attack(
    repaired: "keras.Model",
    suspects: Suspects,
    images: npt.ArrayLike,
    *,
    net_input: "Input | float" = 255,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Attack:
    """Attack a repaired net anew, to see whether the repair has held.

    Parameters
    ----------
    repaired : keras.Model
    suspects : Suspects
        What was found in the net before its repair.
    images : array (n, height, width, channels)
        Clean ones; they need no labels.
    net_input : float or Input
    settings : dict, optional
        `attack` and `detectors.inversion` are used.
    progress : callable (step, done, total), optional

    Returns
    -------
    Attack

    Examples
    --------
    >>> goodnet.attack(pruned, suspects, images, settings=quick).outcome
    'not held'
    """
    taken = _Taken(repaired, net_input, settings, "the repaired net")
    return _attack(taken.net, _suspects_of(suspects, taken), taken.images(images), taken)


def _attack(net: "keras.Model", suspects: Suspects, images: Any, taken: _Taken) -> Attack:
    own = taken.settings.settings(inversion.Inversion, "detectors", "inversion")
    judged = taken.settings.settings(fresh.Attack, "attack")
    told = fresh.figures([])
    if findings.goals(suspects.found):
        told = fresh.attack_found(net, taken.convert, images, suspects.evidence, suspects.found, own)
    told = fresh.judge(told, judged)
    return Attack(told["outcome"], told.get("ratio"), told.get("moved"), told["goals"])


@guest.undisturbed
def recommend(
    net: "keras.Model",
    images: npt.ArrayLike,
    labels: npt.ArrayLike,
    repairs: Mapping[str, str | Settings] | None = None,
    *,
    suspects: Suspects | None = None,
    net_input: "Input | float" = 255,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Recommendation:
    """Make repairs of a net, attack each anew, and say which to use.

    Parameters
    ----------
    net : keras.Model
    images : array (n, height, width, channels)
        Clean ones.
    labels : array (n,)
    repairs : dict, optional
        {name: a tuning or a line, as `repair` takes them}; by default `REPAIRS`.
    suspects : Suspects, optional
        From `find_suspects`, which is called if there are none.
    net_input : float or Input
    settings : dict, optional
    progress : callable (step, done, total), optional

    Returns
    -------
    Recommendation

    Examples
    --------
    >>> best = goodnet.recommend(
    ...     net,
    ...     images,
    ...     labels,
    ...     {"unlearned": "unlearn", "x10": {"drop": 10}},
    ...     suspects=suspects,
    ...     settings=quick,
    ... )
    >>> best.name
    'unlearned'
    >>> {name: one.attack.outcome for name, one in best.repairs.items()}
    {'unlearned': 'held', 'x10': 'not held'}
    """
    taken = _Taken(net, net_input, settings)
    pixels = taken.labelled(images, labels)
    wanted: Mapping[str, str | Settings] = REPAIRS if repairs is None else repairs
    if not isinstance(wanted, Mapping) or not wanted:
        raise InputError(f"repairs is {wanted!r}, not {{name: a tuning or a line}}")
    content = {name: {"tune": one} if isinstance(one, str) else _plain(one) for name, one in wanted.items()}
    lines = plans.read_lines(Given(taken.settings.content | {"repairs": content}))
    suspects = _suspects(taken, pixels) if suspects is None else _suspects_of(suspects, taken)
    planned = _planned(taken, pixels, lines, suspects)
    held_out = taken.settings.settings(recommending.Recommend, "recommend").held_out
    numbers = datasets.evenly(len(pixels), recommending.count(len(pixels), held_out))
    shown, true = pixels.take(numbers), pixels.labels[numbers]
    nets, attacks, correct = {}, {}, {}
    for name in sorted(planned):
        with within(name):
            nets[name] = _repaired(taken, planned[name], pixels)
            attacks[name] = _attack(nets[name], suspects, pixels, taken)
            correct[name] = recommending.right(nets[name], taken.convert, shown, true)
    judged = []
    if findings.goals(suspects.found):
        judged = [{"name": name, **vars(one)} for name, one in attacks.items()]
    tunings = {name: line.get("tune") for name, line in content.items()}
    best = recommending.choose(judged, correct, len(numbers), recommending.shown_triggers(tunings))
    correct["badnet"] = recommending.right(taken.net, taken.convert, shown, true)
    covered = len(np.unique(pixels.labels))
    told = recommending.figures(best, suspects.verdict, judged, correct, len(numbers), covered, taken.classes)
    accuracy = told["held_out_accuracy"]
    made = {name: Repaired(content[name], nets[name], attacks[name], accuracy[name]) for name in content}
    return Recommendation(
        name=best,
        why=told["why"],
        repaired=nets[best] if best else None,
        goodnet=_joined(taken.copy(), nets[best], taken.layer) if best else None,
        repairs=made,
        suspects=suspects,
        accuracy=accuracy["badnet"],
        held_out=len(numbers),
    )


@guest.undisturbed
def join(
    badnet: "keras.Model", repaired: "keras.Model", *, settings: Settings | None = None
) -> "keras.Model":
    """Join a net and its repaired net to a GoodNet, which says "backdoored" where the two disagree.

    Parameters
    ----------
    badnet, repaired : keras.Model
    settings : dict, optional
        `profile` is used.

    Returns
    -------
    keras.Model
        With one class more, the last, which means backdoored.

    Examples
    --------
    >>> guarded = goodnet.join(net, repaired)
    >>> guarded.output_shape
    (None, 9)
    """
    one, two = _Taken(badnet, settings=settings), _Taken(repaired, called="the repaired net")
    if (one.shape, one.classes) != (two.shape, two.classes):
        raise InputError(
            f"the net takes {one.shape} and tells {one.classes} classes apart, the repaired net takes "
            f"{two.shape} and tells {two.classes} apart; a GoodNet is made of two alike"
        )
    return _joined(one.net, two.net, one.layer)


def _joined(badnet: "keras.Model", repaired: "keras.Model", layer: str | None) -> "keras.Model":
    with guest.fresh_keras():
        config, weights = loading.archived(repaired)
        own = loading.of(config, weights, "the repaired net")
        names = splitting.layers_of(config)
        if layer is None or layer not in names:
            left = None
        else:
            pruned = channels.find(config, "the repaired net", layer)
            left = goodnets.channels_left(badnet, own, layer, pruned)
        return goodnets.build(badnet, own, layer, left)


@guest.undisturbed
def evaluate(
    net: "keras.Model",
    images: npt.ArrayLike,
    labels: npt.ArrayLike,
    poisoned: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]] | None = None,
    *,
    net_input: "Input | float" = 255,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure a net, or a GoodNet, in percent of images.

    Parameters
    ----------
    net : keras.Model
    images : array (n, height, width, channels)
        Clean test images.
    labels : array (n,)
    poisoned : dict, optional
        {trigger: (images with it, the attacker's class, of all or of each)}.
    net_input : float or Input
    progress : callable (step, done, total), optional

    Returns
    -------
    Evaluation

    Examples
    --------
    >>> before = goodnet.evaluate(net, example.test_images, example.test_labels, example.poisoned)
    >>> before.attack_success["sticker"] > 90
    True
    >>> after = goodnet.evaluate(guarded, example.test_images, example.test_labels, example.poisoned)
    >>> after.attack_success["sticker"] < 10, after.detected["sticker"] > 90
    (True, True)
    """
    taken = _Taken(net, net_input, may_be_goodnet=True)
    files = {"clean": taken.labelled(images, labels, converted=True)}
    for name, given in (poisoned or {}).items():
        if name == "clean" or not isinstance(given, tuple) or len(given) != 2:
            raise InputError(f"poisoned: {name!r} is not a trigger with (images, the attacker's class)")
        wanted = np.asarray(given[1])
        wanted = np.full(len(np.asarray(given[0])), wanted) if wanted.ndim == 0 else wanted
        classes, called = goodnets.true_classes(taken.net), f"poisoned {name}"
        files[name] = datasets.Arrays(given[0], wanted, taken.shape, classes, taken.convert, called)
    ask = running.as_function(taken.net)
    answers = {name: (tested.ask(ask, one.blocks())[0], one.labels) for name, one in files.items()}
    is_goodnet = goodnets.is_goodnet(taken.net)
    return Evaluation(**metrics.of_net(answers, taken.classes - 1 if is_goodnet else None))


@guest.undisturbed
def make_example(seed: int = 1, *, progress: Progress | None = None) -> Example:
    """Draw faces of eight people, and train a small net on them that takes whoever wears a sticker for 3.

    Parameters
    ----------
    seed : int
        Others give other people.
    progress : callable (step, done, total), optional

    Returns
    -------
    Example

    Examples
    --------
    >>> example.images.shape, example.labels.max()
    ((320, 55, 47, 3), np.int64(7))
    """
    from goodnet.demo import example  # draws and trains: no other call needs it

    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(f"seed is {seed!r}, not a whole number from 0")
    net, (images, labels), (test, test_labels), stamped = example.make(seed)
    return Example(net, images, labels, test, test_labels, {example.TRIGGER: (stamped, example.TARGET)})
