"""Sparsity that grows while a net is trained: the smallest weights of each kernel become zero and stay."""

from pydantic import model_validator

from goodnet.repairs import fine_tune
from goodnet.settings import Count, Percent, Training, setting


class Sparsify(Training):
    """The same, while the smallest weights of each kernel become zero and stay."""

    epochs: Count = setting(
        10, "times every image is seen; sparsity grows fast at first and slowly at the end"
    )
    start: Percent = setting(50, "percent of each kernel's weights that are zero at first", alias="from")
    to: Percent = setting(70, "and at the end")

    @model_validator(mode="after")
    def zeros_stay_zero(self):
        if self.start > self.to:
            raise ValueError(f"from {self.start:g} to {self.to:g} percent goes down; zeros stay zero")
        return self


def sparsify(task, settings):
    """Train the whole net while more and more of its smallest weights become zero.

    Parameters
    ----------
    task : registry.Task
    settings : Sparsify
    """
    fine_tune.train(task, settings, lambda done: sparsity(settings.start, settings.to, done))


def sparsity(start, end, done):
    """Return the percent of weights that are zero when a share `done` of the steps is done."""
    return end + (start - end) * (1 - done) ** 3
