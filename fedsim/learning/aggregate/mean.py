"""What a rule is, and the weighted mean that streams: running sum and total, in float64."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


class Rule(ABC):
    """Takes in updates one at a time and says which step the global model takes."""

    @abstractmethod
    def add(self, update: Vector, examples: float, loss: float, staleness: int = 0) -> None:
        """Take in an accepted update.

        Args:
            update: float64[size], what the client sends less what it was sent.
            examples: on how many it trained.
            loss: its mean training loss.
            staleness: rounds that the global model has moved on since it was sent.
        """

    @abstractmethod
    def finish(self) -> tuple[Vector, Vector]:
        """The step float64[size] of the global model, and each update's share float64[n] (sum 1).

        Without updates, or if all weigh 0, the step is 0.
        """


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
