"""What may reach the global model: finite numbers of the right shape, not too far from where they began.

The bound on the norm is what keeps the global model finite whatever clients send: with updates of
norm at most L, a mean of them (and a trimmed mean, coordinate by coordinate) moves the model by at
most L (by L in each coordinate) a round, so that after R rounds no weight has moved by more than
R x L, which is finite in float32 for any run that anybody can wait for.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def fault(
    weights: NDArray[np.generic],
    base: NDArray[np.float32],
    loss: float,
    largest_norm: float = math.inf,
    measured: int | None = None,
) -> str | None:
    """Why an update is rejected, or None if it is accepted.

    Args:
        weights: what the client sent, float[size] if all is well.
        base: float32[size], what it was sent.
        loss: the client's mean training loss.
        largest_norm: of the difference between the two.
        measured: how many of the leading numbers count for the norm; None: all.
    """
    if weights.shape != base.shape:
        return f"has shape {weights.shape} where {base.shape} is needed"
    if weights.dtype.kind != "f":
        return f"has type {weights.dtype} where float32 is needed"
    if not math.isfinite(loss):
        return "has a loss that is not finite"
    if not bool(np.isfinite(weights).all()):
        return "has weights that are not finite"
    with np.errstate(over="ignore"):
        change = weights[:measured].astype(np.float64) - base[:measured]
        # not np.linalg.norm: the threads of its product would wait, awake, on the workers' cores
        norm = math.sqrt(np.einsum("i,i->", change, change))
    if norm > largest_norm:
        return f"has norm {norm:.4g}, above {largest_norm:.4g}"
    return None
