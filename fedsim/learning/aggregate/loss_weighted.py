"""Loss-weighted aggregation: softmax over the round of the negative mean training loss.

weight_k = exp(-loss_k) / sum_j exp(-loss_j): reference 15 of Gao et al. (2022), in float64 with
the maximum subtracted. The maximum is known only at the end, so the running sum is scaled down
whenever a larger one arrives (as in a streaming softmax).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fedsim.learning.aggregate.mean import Rule


class LossWeighted(Rule):
    """Weight softmax(-loss)."""

    def __init__(self, size: int) -> None:
        self.sum = np.zeros(size, np.float64)
        self.raw: list[float] = []
        self.largest = -math.inf

    def add(self, update: NDArray[np.float64], examples: float, loss: float) -> None:
        """Take in an update; the sum is kept relative to the largest -loss so far."""
        self.raw.append(-loss)
        if -loss > self.largest:
            if self.largest > -math.inf:
                self.sum *= math.exp(self.largest + loss)
            self.largest = -loss
        self.sum += math.exp(-loss - self.largest) * update

    def finish(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The step, and the shares softmax(-loss)."""
        if not self.raw:
            return np.zeros_like(self.sum), np.zeros(0)
        relative = np.exp(np.array(self.raw, np.float64) - self.largest)
        return self.sum / relative.sum(), relative / relative.sum()
