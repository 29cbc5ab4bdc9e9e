"""When something begins to hold: the first whole year, and the moment in the year before it.

Whole years are looked at one by one, because energy may grow as well as shrink; inside the year
before the first, the moment is found by bisection. Something that holds in one year is said to hold
from then on.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Holds = Callable[[Array], NDArray[np.bool_]]

_HALVINGS = 20  # of a year: half a minute


def first_years(holds: Holds, draws: int, horizon: int) -> tuple[Array, Array]:
    """Years of growth after which ``holds`` begins to.

    Args:
        holds: of years of growth, float64[draws], for each draw.
        draws: how many.
        horizon: the last whole year of growth that is looked at.

    Returns:
        The first whole year of growth and the moment at or before it, float64[draws] each; infinite
        where it does not hold up to the horizon.
    """
    whole = np.full(draws, np.inf)
    for year in range(horizon + 1):
        found = np.isinf(whole) & holds(np.full(draws, float(year)))
        whole[found] = year
        if np.isfinite(whole).all():
            break
    high = np.where(np.isfinite(whole), whole, 0.0)
    low = np.maximum(high - 1.0, 0.0)
    inside = np.isfinite(whole) & (whole > 0)
    for _ in range(_HALVINGS if inside.any() else 0):
        middle = (low + high) / 2.0
        good = holds(middle)
        high, low = np.where(inside & good, middle, high), np.where(inside & ~good, middle, low)
    return whole, np.where(np.isfinite(whole), high, np.inf)
