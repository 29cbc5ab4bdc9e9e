"""What a policy that says when a round ends is."""

from __future__ import annotations

import math

from fedsim.engine.world import Bools, Floats
from fedsim.options import Choice


class Completion(Choice):
    """When a synchronous round ends. All times are in seconds after the cohort's dispatch.

    As it stands here, the server asks as many clients as it wants updates, and waits for all of them;
    a policy says what it does otherwise.
    """

    point = "completion policy"
    key = "policy"

    def invited(self, cohort: int) -> int:
        """How many clients to dispatch when ``cohort`` updates are wanted."""
        return cohort

    def limit_s(self) -> float:
        """When the round ends at the latest, known beforehand; may be infinite."""
        return math.inf

    def close_s(self, after_s: Floats, completed: Bools, cohort: int) -> float:
        """When the round ends; by default when the last client does, which is never after the limit.

        Args:
            after_s: float64[n], when each client would end if the round went on until the limit.
            completed: bool[n], whether it would then be complete.
            cohort: how many updates are wanted.
        """
        return float(after_s.max())
