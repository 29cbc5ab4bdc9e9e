"""Deadline: a round ends at a fixed time after dispatch, or as soon as everyone has ended."""

from __future__ import annotations

from dataclasses import dataclass

from fedsim.engine.world import Bools, Floats


@dataclass(frozen=True)
class Deadline:
    """Who is not done by then is told to stop, and is late.

    Attributes:
        after_s: seconds after dispatch; an update that is complete at that instant counts.
    """

    after_s: float

    def __post_init__(self) -> None:
        if not self.after_s > 0.0:
            raise ValueError(f"a deadline must lie after dispatch, not {self.after_s} s after it")

    def invited(self, cohort: int) -> int:
        """As many as are wanted."""
        return cohort

    def limit_s(self) -> float:
        """The deadline."""
        return self.after_s

    def close_s(self, after_s: Floats, completed: Bools, cohort: int) -> float:
        """When the last one ends, which is never after the deadline."""
        return float(after_s.max())
