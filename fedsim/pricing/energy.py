"""Energy of a client's work: power times time, phase by phase.

Powers are those of the whole device (its file's ``idle_w`` and ``active_w``), the link adds its
radio's while it carries something.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def compute_j(active_w: ArrayLike, compute_s: ArrayLike) -> NDArray[np.float64]:
    """Joules of ``compute_s`` seconds of training."""
    return np.asarray(np.asarray(active_w, float) * np.asarray(compute_s, float))


def transfer_j(idle_w: ArrayLike, radio_w: ArrayLike, transfer_s: ArrayLike) -> NDArray[np.float64]:
    """Joules of ``transfer_s`` seconds on the link: the idle device and its radio."""
    return np.asarray(
        (np.asarray(idle_w, float) + np.asarray(radio_w, float)) * np.asarray(transfer_s, float)
    )
