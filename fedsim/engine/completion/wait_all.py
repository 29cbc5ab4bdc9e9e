"""Wait-all: a round ends when every client in it has ended in some way."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fedsim.engine.world import Bools, Floats


@dataclass(frozen=True)
class WaitAll:
    """The server waits for everyone; whoever dies is known to be dead at once."""

    def invited(self, cohort: int) -> int:
        """As many as are wanted."""
        return cohort

    def limit_s(self) -> float:
        """No limit."""
        return math.inf

    def close_s(self, after_s: Floats, completed: Bools, cohort: int) -> float:
        """When the last one ends."""
        return float(after_s.max())
