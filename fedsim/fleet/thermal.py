"""Thermal throttling: full speed until the device is hot, a share of it from then on.

A device without a fan keeps its peak for as long as its mass takes to heat up and then settles at
what it can get rid of. The step from one to the other is a simplification of an exponential.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fedsim.fleet.who import Floats


def throttled_s(cool_s: ArrayLike, after_s: ArrayLike, sustained: ArrayLike) -> Floats:
    """Seconds that work takes on a device that starts cool.

    Args:
        cool_s: float64[...], what it would take at full speed.
        after_s: seconds at full speed before it is hot; infinite if it never throttles.
        sustained: share of full speed held from then on, above 0 and at most 1.

    Returns:
        float64, in the shape that the three broadcast to.
    """
    cool, after, share = (np.asarray(x, dtype=np.float64) for x in (cool_s, after_s, sustained))
    hot = np.maximum(cool - after, 0.0)
    return np.asarray(np.where(hot > 0.0, np.minimum(cool, after) + hot / share, cool))
