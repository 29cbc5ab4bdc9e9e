"""Quorum: more clients are asked than updates are wanted, and the round ends when enough have come.

Over-selection as in Bonawitz et al., "Towards Federated Learning at Scale: System Design", MLSys
2019, section 2.2, which asks 130% of the wanted number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fedsim.engine.world import Bools, Floats


@dataclass(frozen=True)
class Quorum:
    """Who is not done when enough are is told to stop, and is late.

    Attributes:
        over: clients asked beyond the wanted number, as a share of it.
        after_s: seconds after dispatch at which the round ends at the latest; may be infinite.
    """

    over: float = 0.3
    after_s: float = math.inf

    def __post_init__(self) -> None:
        if not (0.0 <= self.over <= 100.0 and self.after_s > 0.0):
            raise ValueError("over-selection is a share from 0 to 100, and a limit lies after dispatch")

    def invited(self, cohort: int) -> int:
        """The wanted number and so much more, rounded up."""
        return cohort + math.ceil(cohort * self.over - 1e-9)

    def limit_s(self) -> float:
        """The limit."""
        return self.after_s

    def close_s(self, after_s: Floats, completed: Bools, cohort: int) -> float:
        """When the wanted number have come, or the last one ends."""
        done = after_s[completed]
        if done.size < cohort:
            return float(after_s.max())
        return float(np.partition(done, cohort - 1)[cohort - 1])
