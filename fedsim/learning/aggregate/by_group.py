"""A server whose clients do not all send the same: one for each group of numbers, as if it were alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fedsim.learning.aggregate.base import Kept, Server, Vector
from fedsim.learning.stretches import Stretches


class ByGroup(Server):
    """What nobody sent stays as it was, and what a server remembers of it too.

    Args:
        make: makes the server of so many numbers.
        places: of each group in the model; some may be empty.
        size: numbers in the model.
    """

    def __init__(self, make: Callable[[int], Server], places: Sequence[Stretches], size: int) -> None:
        self._groups = [(place, make(place.size)) for place in places if place.size]
        self._size, self._heard = size, [False] * len(self._groups)

    def change(self, step: Vector) -> Vector:
        """The change of the model for the step of a round, float64[size], which is NaN where nobody sent."""
        whole = np.zeros(self._size)
        for number, (place, server) in enumerate(self._groups):
            own = place.of(step)
            self._heard[number] = not np.isnan(own[0])
            if self._heard[number]:
                place.put(whole, server.change(own))
        return whole

    def sent(self) -> Kept:
        whole: dict[str, NDArray[np.float32]] = {}
        for place, server in self._groups:
            for name, values in server.sent().items():
                place.put(whole.setdefault(name, np.zeros(self._size, np.float32)), values)
        return whole

    def hear(self, changes: Mapping[str, Vector], clients: int) -> None:
        for heard, (place, server) in zip(self._heard, self._groups, strict=True):
            if heard:
                server.hear({name: place.of(change) for name, change in changes.items()}, clients)

    def state(self) -> dict[str, Vector]:
        """By group, as ``first.0``."""
        return {
            f"{name}.{number}": values
            for number, (_, server) in enumerate(self._groups)
            for name, values in server.state().items()
        }

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        for number, (_, server) in enumerate(self._groups):
            server.restore({name: state[f"{name}.{number}"] for name in server.state()})
