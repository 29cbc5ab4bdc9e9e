"""Who holds which part of the data.

A fleet may be far larger than what there is to learn from, so a task divides its examples into parts,
and client c holds part ``part_of(c)``: a pure function of its number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedsim import rng
from fedsim.learning.federation import Federation

Ints = NDArray[np.int64]


class Holdings:
    """The parts of a task's data and the clients that hold them.

    Args:
        parts: the training examples of each part, none empty.
        federation: whether all are pooled, or one part is everybody's.
        seed: of the run.
    """

    def __init__(self, parts: Sequence[Ints], federation: Federation, seed: int) -> None:
        self.parts = [np.sort(np.concatenate(list(parts)))] if federation.pooled else list(parts)
        self.order: Ints = rng.generator(seed, "partition").permutation(len(self.parts)).astype(np.int64)
        if federation.only_part is not None:
            self.order = np.array([federation.only_part % len(self.parts)], np.int64)

    def part_of(self, clients: ArrayLike) -> Ints:
        """int64[n]: the part that each client holds."""
        return self.order[np.asarray(clients, dtype=np.int64) % len(self.order)]

    def of(self, client: int) -> Ints:
        """The training examples that a client holds."""
        return self.parts[int(self.part_of([client])[0])]
