"""The plain mean: every update counts alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedsim.learning.aggregate.base import Aggregation, Rule
from fedsim.learning.aggregate.mean import WeightedMean
from fedsim.options import kind


class Alike(WeightedMean):
    """Weight 1 / n."""

    def weigh(self, examples: float, loss: float) -> float:
        return 1.0


@dataclass(frozen=True)
class Uniform(Aggregation):
    """The mean of the updates."""

    kind: Literal["uniform"] = kind("uniform")

    def rule(self, size: int, staleness_exponent: float) -> Rule:
        return Alike(size, staleness_exponent)
