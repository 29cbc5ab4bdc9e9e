"""Sums over batches and clients, and the metrics that follow from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fedsim.tasks.base import Metrics, Task


@dataclass(frozen=True)
class Accumulator:
    """Named sums; accumulators add up.

    Attributes:
        sums: by name, floats or arrays; ``loss`` over ``count`` is the mean loss.
    """

    sums: Mapping[str, Any] = field(default_factory=dict)

    def __add__(self, other: Accumulator) -> Accumulator:
        names = dict.fromkeys([*self.sums, *other.sums])
        return Accumulator({name: self.sums.get(name, 0) + other.sums.get(name, 0) for name in names})

    @staticmethod
    def total(accumulators: Iterable[Accumulator]) -> Accumulator:
        """The sum, in the order given."""
        return sum(accumulators, start=Accumulator())

    @property
    def mean_loss(self) -> float:
        """The mean loss; nan if nothing was counted."""
        return self.sums["loss"] / self.sums["count"] if self.sums.get("count") else float("nan")

    def metrics(self, task: Task, split: str) -> Metrics:
        """What a task makes of them; none of nothing."""
        if not self.sums.get("count"):
            return []
        return [(name, split, value) for name, value in task.summary(self.sums).items()]
