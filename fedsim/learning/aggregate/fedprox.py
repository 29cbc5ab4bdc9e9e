"""FedProx: FedAvg whose clients are pulled back to where they began.

Li et al., "Federated optimization in heterogeneous networks" (MLSys 2020): clients minimise their loss
plus mu/2 |w - w0|^2, whose gradient is added to theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fedsim.learning.aggregate.base import Aggregation, Rule
from fedsim.learning.aggregate.fedavg import ByExamples
from fedsim.options import kind, option


@dataclass(frozen=True)
class FedProx(Aggregation):
    """FedAvg with a proximal term."""

    corrects = True
    proximal: float = option(0.01, "strength mu of the pull to the global model", ge=0)
    kind: Literal["fedprox"] = kind("fedprox")

    def rule(self, size: int, staleness_exponent: float) -> Rule:
        return ByExamples(size, staleness_exponent)

    def correct(
        self, gradient: Any, weight: Any, anchor: Any, sent: Mapping[str, Any], kept: Mapping[str, Any]
    ) -> None:
        gradient.add_(weight - anchor, alpha=self.proximal)
