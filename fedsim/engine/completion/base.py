"""What a policy that closes synchronous rounds is."""

from __future__ import annotations

from typing import Protocol

from fedsim.engine.world import Bools, Floats


class Completion(Protocol):
    """When a synchronous round ends. All times are in seconds after the cohort's dispatch."""

    def invited(self, cohort: int) -> int:
        """How many clients to dispatch when ``cohort`` updates are wanted."""
        ...

    def limit_s(self) -> float:
        """When the round ends at the latest, known beforehand; may be infinite."""
        ...

    def close_s(self, after_s: Floats, completed: Bools, cohort: int) -> float:
        """When the round ends.

        Args:
            after_s: float64[n], when each client would end if the round went on until the limit.
            completed: bool[n], whether it would then be complete.
            cohort: how many updates are wanted.
        """
        ...
