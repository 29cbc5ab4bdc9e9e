"""What a rule is, and the weighted mean that streams: running sum and total, in float64."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray


class Rule(ABC):
    """Takes in updates one at a time and says which step the global model takes."""

    @abstractmethod
    def add(self, update: NDArray[np.float64], examples: float, loss: float) -> None:
        """Take in an accepted update, float64[size]."""

    @abstractmethod
    def finish(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The step float64[size] of the global model, and each update's share float64[n] (sum 1).

        Without updates, or if all weigh 0, the step is 0.
        """


class WeightedMean(Rule):
    """A mean; subclasses say how much an update weighs.

    Args:
        size: number of parameters.
    """

    def __init__(self, size: int) -> None:
        self.sum = np.zeros(size, np.float64)
        self.raw: list[float] = []

    @abstractmethod
    def weigh(self, examples: float, loss: float) -> float:
        """The weight of an update before normalisation, not negative."""

    def add(self, update: NDArray[np.float64], examples: float, loss: float) -> None:
        """Add the update times its weight to the running sum."""
        weight = self.weigh(examples, loss)
        self.raw.append(weight)
        self.sum += weight * update

    def finish(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The weighted mean and the normalised weights."""
        raw = np.array(self.raw, np.float64)
        total = raw.sum()
        if not total > 0:
            return np.zeros_like(self.sum), np.zeros_like(raw)
        return self.sum / total, raw / total
