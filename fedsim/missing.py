"""A number that is not there, told from one that is no number.

A client that was not trained for real has no loss; one whose training went wrong has a loss and reports
NaN. In arrays the first is :data:`MISSING`, a NaN with bits of its own (all of them set), as R's NA is;
copying and indexing keep it, and arithmetic treats it as any NaN. In files it is null.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_BITS = -1  # all 64, read as an integer; no processor makes such a NaN

MISSING = float(np.int64(_BITS).view(np.float64))


def is_missing(values: ArrayLike) -> NDArray[np.bool_]:
    """Where numbers (float64, any shape) are not there."""
    found: NDArray[np.bool_] = np.asarray(values, np.float64).view(np.int64) == _BITS
    return found


def to_list(values: NDArray[Any]) -> list[Any]:
    """An array as a list, None for what is missing (in one dimension)."""
    plain: list[Any] = values.tolist()
    if values.dtype == np.float64 and values.ndim == 1:
        for place in np.flatnonzero(is_missing(values)).tolist():
            plain[place] = None
    return plain


def from_list(values: list[Any]) -> NDArray[np.float64]:
    """The float64 array of such a list."""
    found = np.array(values, np.float64)
    if None in values:
        found[[place for place, value in enumerate(values) if value is None]] = MISSING
    return found
