"""Deadline: a round ends at a fixed time after dispatch, or as soon as everyone has ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedsim.engine.completion.base import Completion
from fedsim.options import Duration, kind, option


@dataclass(frozen=True)
class Deadline(Completion):
    """Who is not done by then is told to stop, and is late; who is done at that very instant counts."""

    after: Duration = option(description="how long a round may take")
    policy: Literal["deadline"] = kind("deadline")

    def limit_s(self) -> float:
        """The deadline."""
        return self.after
