"""Lossy compression of an update: what the server really receives.

The counterpart of the bytes that the time plane charges. ``fp16``: half precision. ``int8``: each
tensor scaled to its largest magnitude and rounded to 255 levels. ``top-k``: only the share of
coordinates of largest magnitude, the others 0 (no error feedback).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedsim.learning.aggregate.mean import Vector

KINDS = ("none", "fp16", "int8", "top-k")
_HALF_MAX = 65504.0


def compress(update: Vector, kind: str, sizes: Sequence[int], share: float = 0.01) -> Vector:
    """The update after compression and decompression, float64[size].

    Args:
        update: float64[size].
        kind: one of ``KINDS``.
        sizes: lengths of the tensors of which the update consists, end to end.
        share: of the coordinates that ``top-k`` keeps; at least one is kept.
    """
    if kind == "fp16":
        return np.clip(update, -_HALF_MAX, _HALF_MAX).astype(np.float16).astype(np.float64)
    if kind == "int8":
        pieces = np.split(update, np.cumsum(sizes)[:-1])
        return np.concatenate([_int8(piece) for piece in pieces])
    if kind == "top-k":
        count = max(1, round(share * len(update)))
        kept = np.argsort(-np.abs(update), kind="stable")[:count]
        sparse = np.zeros_like(update)
        sparse[kept] = update[kept]
        return sparse
    return update


def _int8(piece: Vector) -> Vector:
    scale = float(np.abs(piece).max(initial=0.0)) / 127.0
    return np.rint(piece / scale) * scale if scale > 0 else piece
