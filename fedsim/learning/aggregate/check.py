"""What may reach the global model: finite numbers of the right shape, and nothing else."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def fault(weights: NDArray[np.floating], size: int, loss: float) -> str | None:
    """Why an update is rejected, or None if it is accepted.

    Args:
        weights: what the client sent, float[size] if all is well.
        size: number of parameters of the global model.
        loss: the client's mean training loss.
    """
    if weights.shape != (size,):
        return f"has shape {weights.shape} where ({size},) is needed"
    if not math.isfinite(loss):
        return "has a loss that is not finite"
    if not bool(np.isfinite(weights).all()):
        return "has weights that are not finite"
    return None
