"""Small helpers of what is summed over a table: positions for words, and arrays that grow."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Kind = TypeVar("Kind", np.int64, np.bool_)


class Codes:
    """Positions for text values, in order of first appearance, stable over batches."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._place: dict[str, int] = {}

    def of(self, column: pa.Array) -> NDArray[np.int64]:
        """The positions of a dictionary-encoded column's values."""
        here = [self._place.setdefault(str(word), len(self._place)) for word in column.dictionary.to_pylist()]
        self.names = list(self._place)
        return np.asarray(np.take(here, column.indices.to_numpy(zero_copy_only=False)), dtype=np.int64)


def grown(values: NDArray[Kind], size: int, fill: int = 0) -> NDArray[Kind]:
    """``values`` with at least ``size`` places, new ones holding ``fill``."""
    if size <= values.size:
        return values
    more = np.full(max(size, 2 * values.size) - values.size, fill, dtype=values.dtype)
    return np.concatenate([values, more])
