"""Unlearning: what is searched and taught, and that a training which destroys the net goes back."""

import numpy as np
import pytest
from test_tuning import task_of

import nets
from goodnet.images.inputs import Input
from goodnet.nets import parts
from goodnet.repairs import fine_tune, unlearn
from goodnet.suspects.inverter import ANY, Inverter

MUTED = nets.muted(300).astype(np.float32)
QUICK = {"images": 100, "searches": 1, "steps": 25}


def red(images):
    images = images.copy()
    images[:, 3:8, 3:8] = [255, 0, 0]
    return images


def task(net):
    made = task_of(None, net=net, images=lambda numbers: MUTED[numbers])
    made.labels = nets.answers(net, MUTED).astype(np.int64)
    return made


def test_unlearning_makes_a_net_forget_its_backdoor():
    net = nets.backdoored()
    made = task(net)
    settings = unlearn.Unlearn(**QUICK, epochs=8, batch_size=50, learning_rate=0.01)
    unlearn.unlearn(made, settings)
    shown = nets.muted(100, seed=2)
    clean = nets.answers(net, shown)
    others = clean != nets.TARGET
    assert (nets.answers(net, red(shown)) == nets.TARGET).all()
    assert (nets.answers(made.net, red(shown)) == nets.TARGET)[others].mean() < 0.3
    assert (nets.answers(made.net, shown) == clean).mean() > 0.8


def test_with_no_suspects_nothing_is_searched():
    made = task(nets.backdoored())
    made.goals = []
    known = unlearn.Known(unlearn.Unlearn(**QUICK), [], nets.SHAPE)
    assert known.drawn(np.random.default_rng(0), 4)[2] is False
    unlearn.unlearn(made, unlearn.Unlearn(**QUICK, epochs=1))
    assert not np.array_equal(made.net.layers[-1].kernel, made.badnet.layers[-1].kernel)


def searched(**settings):
    """The triggers that a search finds worth teaching, and the net they are of."""
    net = nets.sloped()
    goals = [nets.TARGET, ANY]
    known = unlearn.Known(unlearn.Unlearn(**QUICK | settings), goals, nets.SHAPE)
    known.search(Inverter(parts.with_logits(net), Input(), MUTED[:100]), np.random.default_rng(1))
    count = int(known.count)
    return net, known.keep.numpy()[:count], known.add.numpy()[:count], known


def test_only_small_triggers_that_work_are_taught(monkeypatch):
    monkeypatch.setattr(unlearn, "CHANCE", 0)
    net, keep, add, _ = searched(patch=12, faint=10)
    assert len(keep) >= 1
    answers = nets.answers(net, MUTED[:100])
    for its_keep, its_add in zip(keep, add, strict=True):
        hidden = 100 * (1 - its_keep).mean()
        assert hidden <= 12 + 1e-3 and (hidden > 0 or np.sqrt(np.square(its_add).mean()) <= 25.5 + 1e-3)
        given = nets.answers(net, np.clip(MUTED[:100] * its_keep + its_add, 0, 255))
        moved = max((given == nets.TARGET)[answers != nets.TARGET].mean(), (given != answers).mean())
        assert moved > 0.4
    assert not len(searched(patch=1e-6, faint=1e-6)[1])


def test_random_patterns_that_lead_to_the_suspects_are_taught_too():
    net, keep, add, _ = searched(patch=1e-6, faint=1e-6)
    assert 1 <= len(keep) <= unlearn.CHANCE_KEPT
    answers = nets.answers(net, MUTED[:100])
    for its_keep, its_add in zip(keep, add, strict=True):
        given = nets.answers(net, np.clip(MUTED[:100] * its_keep + its_add, 0, 255))
        assert ((given == nets.TARGET) & (answers != nets.TARGET)).any()


def test_triggers_are_moved_by_up_to_a_pixel():
    *_, known = searched()
    known.keep[0].assign(np.arange(known.keep[0].numpy().size, dtype=np.float32).reshape(known.keep[0].shape))
    known.count.assign(1)
    keep, add, any_known = known.drawn(np.random.default_rng(3), 200)
    stored, places = known.keep.numpy()[0], set()
    for its_keep, its_add in zip(keep, add, strict=True):
        (place,) = (
            (down, across)
            for down in range(-2, 3)
            for across in range(-2, 3)
            if np.array_equal(np.roll(stored, (down, across), (0, 1)), its_keep)
        )
        assert np.array_equal(np.roll(known.add.numpy()[0], place, (0, 1)), its_add)
        places.add(place)
    assert any_known and places == {(down, across) for down in (-1, 0, 1) for across in (-1, 0, 1)}


@pytest.mark.parametrize("rate", [3.0, 1e9])
def test_a_training_that_destroys_the_net_goes_back(capsys, rate):
    """And on with a lower rate, or ends where none is low enough."""
    made = task(nets.backdoored())
    fine_tune.fine_tune(made, fine_tune.FineTune(epochs=3, batch_size=50, learning_rate=rate))
    told = capsys.readouterr().err
    assert "back to the last sound epoch, with a lower learning rate" in told
    assert ("with no further training" in told) == (rate == 1e9)
    assert (nets.answers(made.net, MUTED) == made.labels).mean() > 0.5
    unchanged = [
        np.array_equal(*pair) for pair in zip(made.net.get_weights(), made.badnet.get_weights(), strict=True)
    ]
    assert all(unchanged) == (rate == 1e9)
