"""A user's code, for the type checker alone: what is right passes, and what is wrong is found."""

import numpy as np

import goodnet

net = goodnet.load("net.keras", memory=4)
images = np.zeros((20, 12, 10, 3), np.uint8)
labels = [0] * 20
standardised = goodnet.Input(range=[0.0, 1.0], mean=[0.5], std=[0.25])


def told(step: str, done: int, total: int) -> None:
    print(f"{step}: {done / total:.0%}")


suspects: goodnet.Suspects = goodnet.find_suspects(net, images, net_input=standardised, progress=told)
classes: list[int] = suspects.classes
stamped = suspects.triggers[0].stamp(images)
order = goodnet.rank(net, images, labels, "l1")
channels: list[int] = goodnet.pruning_curve(net, images, labels, order).to_drop(2.5)
pruned = goodnet.prune(net, channels)
repaired = goodnet.repair(net, images, labels, {"drop": 10, "tune": "fine_tune"}, suspects=suspects)
outcome: str = goodnet.attack(repaired, suspects, images).outcome
best = goodnet.recommend(net, images, labels, {"relearned": "relearn", "x10": {"drop": 10}})
name: str | None = best.name
accuracy: float = best.repairs["relearned"].accuracy
rates = goodnet.evaluate(goodnet.join(net, repaired), images, labels, {"red": (images, 3)})
goodnet.save(repaired, "repaired.keras")

# Each of these is wrong, and a checker that no longer says so calls the comment unused.
goodnet.load(3)  # type: ignore[arg-type]
goodnet.find_suspects(net, images, net_input="255")  # type: ignore[arg-type]
goodnet.repair(net, images, labels)  # type: ignore[call-arg]
goodnet.repair(net, images, labels, "unlearn", suspect=suspects)  # type: ignore[call-arg]
goodnet.recommend(net, images, labels, ["relearn"])  # type: ignore[arg-type]
goodnet.find_suspects(net, images, progress="loud")  # type: ignore[arg-type]
number: int = suspects.verdict  # type: ignore[assignment]
goodnet.unlearn(net)  # type: ignore[attr-defined]
