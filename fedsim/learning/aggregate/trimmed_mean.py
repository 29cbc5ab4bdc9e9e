"""The coordinate-wise trimmed mean: robust against a few wild updates, and the one rule that
cannot stream, since a coordinate's extremes are known only when all updates are there.

Yin et al., "Byzantine-robust distributed learning" (ICML 2018), definition 2: in each coordinate
the floor(trim x n) largest and smallest values are left out and the rest averaged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from fedsim.learning.aggregate.base import Aggregation, Rule, Vector
from fedsim.options import kind, option

_BLOCK = 1 << 16


class Trimmed(Rule):
    """Memory grows with the number of updates; shares are 1 / n, as no update weighs more.

    Args:
        size: number of parameters.
        trim: share left out at each end, below 0.5.
    """

    def __init__(self, size: int, trim: float) -> None:
        self.size, self.trim = size, trim
        self.updates: list[Vector] = []

    def add(self, update: Vector, examples: float, loss: float, staleness: int = 0) -> None:
        """Keep the update."""
        self.updates.append(update.copy())

    def finish(self) -> tuple[Vector, Vector]:
        """The trimmed mean and equal shares."""
        count = len(self.updates)
        if not count:
            return np.zeros(self.size), np.zeros(0)
        cut = int(self.trim * count)
        step = np.empty(self.size)
        for start in range(0, self.size, _BLOCK):
            block = np.sort(np.stack([u[start : start + _BLOCK] for u in self.updates]), axis=0)
            step[start : start + _BLOCK] = block[cut : count - cut].mean(axis=0)
        return step, np.full(count, 1.0 / count)


@dataclass(frozen=True)
class TrimmedMean(Aggregation):
    """The coordinate-wise trimmed mean."""

    trim: float = option(0.1, "share left out at each end", ge=0, lt=0.5)
    kind: Literal["trimmed-mean"] = kind("trimmed-mean")

    def rule(self, size: int, staleness_exponent: float) -> Rule:
        return Trimmed(size, self.trim)
