"""Lossy compression of an update: what the server really receives, and the bytes that the clock charges.

One class a kind, with both sides of it. Optimizer state that travels with the weights is sent as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fedsim.options import Choice, kind, option

Vector = NDArray[np.float64]
_HALF_MAX = 65504.0


class Compression(Choice):
    """What is done to an update before it is sent; by default nothing."""

    point = "compression"

    @property
    def bytes_share(self) -> float:
        """Bytes of a compressed update over bytes of one in fp32."""
        return 1.0

    def compress(self, update: Vector, sizes: Sequence[int]) -> Vector:
        """The update after compression and decompression, float64[size].

        Args:
            update: float64[size].
            sizes: lengths of the tensors of which the update consists, end to end.
        """
        return update


@dataclass(frozen=True)
class Whole(Compression):
    """The update as it is."""

    kind: Literal["none"] = kind("none")


@dataclass(frozen=True)
class HalfPrecision(Compression):
    """Half precision."""

    kind: Literal["fp16"] = kind("fp16")

    @property
    def bytes_share(self) -> float:
        return 0.5

    def compress(self, update: Vector, sizes: Sequence[int]) -> Vector:
        return np.clip(update, -_HALF_MAX, _HALF_MAX).astype(np.float16).astype(np.float64)


@dataclass(frozen=True)
class Int8(Compression):
    """Each tensor scaled to its largest magnitude and rounded to 255 levels."""

    kind: Literal["int8"] = kind("int8")

    @property
    def bytes_share(self) -> float:
        return 0.25

    def compress(self, update: Vector, sizes: Sequence[int]) -> Vector:
        return np.concatenate([_int8(piece) for piece in np.split(update, np.cumsum(sizes)[:-1])])


@dataclass(frozen=True)
class TopK(Compression):
    """The coordinates of largest magnitude, the others 0 (no error feedback); an index goes with each."""

    share: float = option(description="share of the coordinates that are kept", gt=0, le=1)
    kind: Literal["top-k"] = kind("top-k")

    @property
    def bytes_share(self) -> float:
        return min(1.0, 2.0 * self.share)

    def compress(self, update: Vector, sizes: Sequence[int]) -> Vector:
        count = max(1, round(self.share * len(update)))
        kept = np.argsort(-np.abs(update), kind="stable")[:count]
        sparse = np.zeros_like(update)
        sparse[kept] = update[kept]
        return sparse


COMPRESSIONS = (Whole, HalfPrecision, Int8, TopK)


def _int8(piece: Vector) -> Vector:
    scale = float(np.abs(piece).max(initial=0.0)) / 127.0
    return np.rint(piece / scale) * scale if scale > 0 else piece
