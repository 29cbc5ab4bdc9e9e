"""The weighted mean that streams: running sum and total, in float64."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from fedsim.learning.aggregate.base import Rule, Vector


class WeightedMean(Rule):
    """A mean; subclasses say how much an update weighs.

    Args:
        size: number of parameters.
        staleness_exponent: an update s rounds late weighs (1 + s)**-exponent as much; 0.5 is
            FedBuff's choice (Nguyen et al., AISTATS 2022).
    """

    def __init__(self, size: int, staleness_exponent: float = 0.0) -> None:
        self.sum = np.zeros(size, np.float64)
        self.raw: list[float] = []
        self.exponent = staleness_exponent

    @abstractmethod
    def weigh(self, examples: float, loss: float) -> float:
        """The weight of a fresh update before normalisation, not negative."""

    def add(self, update: Vector, examples: float, loss: float, staleness: int = 0) -> None:
        """Add the update times its weight to the running sum."""
        weight = self.weigh(examples, loss) * (1.0 + staleness) ** -self.exponent
        self.raw.append(weight)
        self.sum += weight * update

    def finish(self) -> tuple[Vector, Vector]:
        """The weighted mean and the normalised weights."""
        raw = np.array(self.raw, np.float64)
        total = raw.sum()
        if not total > 0:
            return np.zeros_like(self.sum), np.zeros_like(raw)
        return self.sum / total, raw / total
