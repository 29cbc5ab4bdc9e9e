"""Quorum: more clients are asked than updates are wanted, and the round ends when enough have come.

Over-selection as in Bonawitz et al., "Towards Federated Learning at Scale: System Design", MLSys
2019, section 2.2, which asks 130% of the wanted number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fedsim.engine.completion.base import Completion
from fedsim.engine.world import Bools, Floats
from fedsim.options import Duration, kind, option


@dataclass(frozen=True)
class Quorum(Completion):
    """Who is not done when enough are is told to stop, and is late."""

    over: float = option(description="share of clients asked beyond the cohort", ge=0, le=100)
    after: Duration | None = option(None, "how long a round may take; none: as long as it takes")
    policy: Literal["quorum"] = kind("quorum")

    def invited(self, cohort: int) -> int:
        """The wanted number and so much more, rounded up."""
        return cohort + math.ceil(cohort * self.over - 1e-9)

    def limit_s(self) -> float:
        """The limit."""
        return math.inf if self.after is None else self.after

    def close_s(self, after_s: Floats, completed: Bools, cohort: int) -> float:
        """When the wanted number have come, or the last one ends."""
        done = after_s[completed]
        if done.size < cohort:
            return float(after_s.max())
        return float(np.partition(done, cohort - 1)[cohort - 1])
