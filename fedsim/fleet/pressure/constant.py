"""Constant: the same bytes at any time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from fedsim.fleet.pressure.base import Pressure
from fedsim.fleet.who import Floats, Who
from fedsim.options import SizeOrZero, kind, option


@dataclass(frozen=True)
class Constant(Pressure):
    """The same at any time."""

    bytes: SizeOrZero = option(description="how much is held, always")
    kind: Literal["constant"] = kind("constant")

    def bytes_at(self, who: Who, time_s: Floats) -> Floats:
        """What is held at each instant."""
        return np.full(who.index.size, self.bytes)

    def range_bytes(self, who: Who) -> tuple[Floats, Floats]:
        """The same both times."""
        held = np.full(who.index.size, self.bytes)
        return held, held

    def first_exceeds_s(self, who: Who, limit_bytes: Floats, start_s: Floats, end_s: Floats) -> Floats:
        """The start, or never."""
        return np.where((limit_bytes < self.bytes) & (start_s < end_s), start_s, np.inf)
