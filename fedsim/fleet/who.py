"""Whom a question is about: some clients of a fleet, with what decides their answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

TICKS_PER_S = 1024.0  # window edges lie on this grid, where sums with whole seconds are exact in floats


@dataclass(frozen=True)
class Who:
    """Some clients.

    Attributes:
        index: int64[n], their numbers in the fleet.
        utc_offset_s: float64[n], what their clocks show beyond UTC; whole seconds.
        appetite: float64[n], a standard normal draw each, for how much memory their owners' programs take.
        seed: of the fleet; names the random streams.
    """

    index: Ints
    utc_offset_s: Floats
    appetite: Floats
    seed: int

    def take(self, rows: Bools | NDArray[np.intp] | slice) -> Who:
        """Some of them."""
        return Who(self.index[rows], self.utc_offset_s[rows], self.appetite[rows], self.seed)


def on_grid(seconds: Floats) -> Floats:
    """``seconds`` rounded down to the grid of window edges."""
    return np.asarray(np.floor(seconds * TICKS_PER_S) / TICKS_PER_S)
