"""Loss-weighted aggregation: softmax over the round of the negative mean training loss.

weight_k = exp(-loss_k / T) / sum_j exp(-loss_j / T); with T = 1 it is reference 15 of Gao et al. (2022).
In float64 with the maximum subtracted, which is known only at the end, so the running sum is scaled down
whenever a larger one arrives (as in a streaming softmax).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fedsim.learning.aggregate.base import Aggregation, Rule, Vector
from fedsim.options import kind, option


class Softmax(Rule):
    """Weight softmax(-loss / temperature); late updates weigh (1 + staleness)**-exponent as much."""

    def __init__(self, size: int, staleness_exponent: float = 0.0, temperature: float = 1.0) -> None:
        self.sum = np.zeros(size, np.float64)
        self.raw: list[float] = []
        self.exponent, self.temperature = staleness_exponent, temperature
        self.largest = -math.inf

    def add(self, update: Vector, examples: float, loss: float, staleness: int = 0) -> None:
        """Take in an update; the sum is kept relative to the largest logarithm so far."""
        logarithm = -loss / self.temperature - self.exponent * math.log1p(staleness)
        self.raw.append(logarithm)
        if logarithm > self.largest:
            self.sum *= math.exp(self.largest - logarithm)  # 0 at the first
            self.largest = logarithm
        self.sum += math.exp(logarithm - self.largest) * update

    def finish(self) -> tuple[Vector, Vector]:
        """The step, and the shares softmax(-loss)."""
        if not self.raw:
            return np.zeros_like(self.sum), np.zeros(0)
        relative = np.exp(np.array(self.raw, np.float64) - self.largest)
        return self.sum / relative.sum(), relative / relative.sum()


@dataclass(frozen=True)
class LossWeighted(Aggregation):
    """The mean of the updates by softmax(-loss / temperature)."""

    temperature: float = option(1.0, "divides the losses: the lower, the more a low loss counts", gt=0)
    kind: Literal["loss-weighted"] = kind("loss-weighted")

    def rule(self, size: int, staleness_exponent: float) -> Rule:
        return Softmax(size, staleness_exponent, self.temperature)
