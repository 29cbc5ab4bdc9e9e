"""FedAvg: updates weighted by the number of examples trained on.

McMahan et al., "Communication-efficient learning of deep networks from decentralized data"
(AISTATS 2017), algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedsim.learning.aggregate.base import Aggregation, Rule
from fedsim.learning.aggregate.mean import WeightedMean
from fedsim.options import kind


class ByExamples(WeightedMean):
    """Weight n_k / sum of n."""

    def weigh(self, examples: float, loss: float) -> float:
        return examples


@dataclass(frozen=True)
class FedAvg(Aggregation):
    """The mean of the updates by the number of examples."""

    kind: Literal["fedavg"] = kind("fedavg")

    def rule(self, size: int, staleness_exponent: float) -> Rule:
        return ByExamples(size, staleness_exponent)
