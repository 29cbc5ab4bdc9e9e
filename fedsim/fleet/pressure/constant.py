"""Constant: the same bytes at any time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedsim.errors import ScenarioError
from fedsim.fleet.who import Floats, Who


@dataclass(frozen=True)
class Constant:
    """Other programs hold ``held_bytes``, always, on every client."""

    held_bytes: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.held_bytes <= 1e15:
            raise ScenarioError(f"other programs cannot hold {self.held_bytes} bytes; give 0B to 1000TB")

    def bytes_at(self, who: Who, time_s: Floats) -> Floats:
        """What is held at each instant."""
        return np.full(who.index.size, self.held_bytes)

    def range_bytes(self, who: Who) -> tuple[Floats, Floats]:
        """The same both times."""
        held = np.full(who.index.size, self.held_bytes)
        return held, held

    def first_exceeds_s(self, who: Who, limit_bytes: Floats, start_s: Floats, end_s: Floats) -> Floats:
        """The start, or never."""
        return np.where((limit_bytes < self.held_bytes) & (start_s < end_s), start_s, np.inf)
