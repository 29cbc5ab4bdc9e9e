"""Places in a flat vector, as stretches of it: no index takes as much memory as a model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class Stretches:
    """Places in a vector, ascending.

    Attributes:
        bounds: first and behind the last of each; no two touch.
    """

    bounds: tuple[tuple[int, int], ...]

    @staticmethod
    def joined(bounds: Iterable[tuple[int, int]]) -> Stretches:
        """From ascending bounds, some of which may touch."""
        found: list[tuple[int, int]] = []
        for start, stop in bounds:
            if found and found[-1][1] == start:
                start = found.pop()[0]
            found.append((start, stop))
        return Stretches(tuple(found))

    @property
    def size(self) -> int:
        """How many places they are."""
        return sum(stop - start for start, stop in self.bounds)

    def of(self, whole: NDArray[Number]) -> NDArray[Number]:
        """What a vector holds there, end to end; a view if it is one stretch."""
        pieces = [whole[start:stop] for start, stop in self.bounds]
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate(pieces) if pieces else whole[:0]

    def put(self, whole: NDArray[Any], values: NDArray[Any]) -> None:
        """Set what a vector holds there."""
        begin = 0
        for start, stop in self.bounds:
            whole[start:stop] = values[begin : begin + stop - start]
            begin += stop - start
