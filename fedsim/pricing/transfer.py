"""Bytes and seconds of moving a model between server and client."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

WEIGHT_BYTES = 4
"""Weights travel as fp32, as they are kept; autocast changes neither."""


def update_bytes(parameters: int) -> float:
    """Size of a model or of an update of it, dense and uncompressed."""
    return float(parameters * WEIGHT_BYTES)


def transfer_s(
    size_bytes: ArrayLike, rate_bytes_per_s: ArrayLike, latency_s: ArrayLike
) -> NDArray[np.float64]:
    """Seconds for ``size_bytes`` over a link: one latency, then the rate. Arrays broadcast."""
    size = np.asarray(size_bytes, float)
    return np.asarray(np.asarray(latency_s, float) + size / np.asarray(rate_bytes_per_s, float))
