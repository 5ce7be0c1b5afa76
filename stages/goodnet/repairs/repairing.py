"""One repair, from its plan: what it prunes, and then its tuning."""

from goodnet.errors import InputError
from goodnet.images import datasets
from goodnet.methods import chosen
from goodnet.pruning import channels
from goodnet.repairs import recommend
from goodnet.repairs.registry import TUNINGS, Task


def pruned(config, weights, plan, called):
    """Return a net's configuration and weights without the channels in a plan, and the PrunedLayer.

    The layer is None where nothing splits the net. Errors call the net `called`.
    """
    if plan["layer"] is None:
        return config, weights, None
    layer = channels.find(config, called, plan["layer"])
    return *channels.pruned(config, weights, layer, plan["channels"], plan.get("of", 0)), layer


def tuning(plan, where):
    """Return the tuning of a plan; `where` says in an error what named it."""
    found = chosen(TUNINGS, plan["tune"], where)
    if plan.get("from") != TUNINGS.origin(found.name):
        raise InputError(
            f"{where} is {found.name!r}, whose package has changed since this repair was planned; plan anew: "
            "dvc repro --single-item --force plan"
        )
    return found


def tune(tuning, plan, badnet, net, pruned, images, convert, progress, scratch):
    """Train a net in place, as a plan says.

    Parameters
    ----------
    tuning : registry.Tuning
    plan : dict
        From plans.plan.
    badnet : keras.Model
        Before any repair.
    net : keras.Model
        The same with its channels pruned.
    pruned : PrunedLayer or None
        From `pruned`.
    images : datasets.Images or datasets.Arrays
        Clean ones with their labels, as pixels; some are left out, by which a repair is recommended.
    convert : inputs.Input
    progress : training.Progress
    scratch : Path
        A folder for nameless files.
    """
    rows = recommend.trained_on(len(images), plan["held_out"])
    with datasets.in_any_order(images, scratch) as take:
        task = Task(
            badnet=badnet,
            net=net,
            layer=plan["layer"],
            pruned=pruned,
            channels=plan["channels"],
            goals=plan.get("goals", []),
            images=lambda numbers: take(rows[numbers]),
            labels=images.labels[rows],
            convert=convert,
            progress=progress,
            scratch=scratch,
        )
        tuning.function(task, tuning.settings.model_validate(plan["settings"]))
