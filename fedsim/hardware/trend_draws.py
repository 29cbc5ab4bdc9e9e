"""Growth drawn at random: doubling times from the ranges of a trend.

The logarithm of a doubling time is triangular: its ends are those of the range and its peak is the
trend's own doubling time. So no draw lies outside of what is believed, the trend's own figure is the
likeliest, and a range that begins at that figure is allowed. A figure without a range is certain.
Draw ``i`` of a figure depends on seed, figure and ``i`` alone: more draws leave the first ones as
they are, and every device and model of one question meets the same growth.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedsim import rng
from fedsim.errors import HardwareError
from fedsim.hardware.trend import Trend

Array = NDArray[np.float64]


def triangular(uniform: Array, low: float, peak: float, high: float) -> Array:
    """Quantiles of the triangular distribution on [low, high] with its peak at ``peak``.

    Source of the formula: inverse of the distribution function in Johnson, Kotz and Balakrishnan,
    Continuous Univariate Distributions, volume 2, 1995, section 26.9.
    """
    width = high - low
    if width == 0.0:
        return np.full(uniform.shape, peak)
    rising = low + np.sqrt(uniform * width * (peak - low))
    falling = high - np.sqrt((1.0 - uniform) * width * (high - peak))
    return np.where(uniform * width < peak - low, rising, falling)


def draw_doubling_years(trend: Trend, draws: int, seed: int) -> dict[str, Array]:
    """Doubling times by figure.

    Args:
        trend: which states a range for at least one figure.
        draws: how many, from 1 up.
        seed: names the random streams.

    Returns:
        float64[draws] for every figure of the trend, infinite for what never doubles.

    Raises:
        HardwareError: if the trend states no range.
    """
    if not trend.range_years:
        raise HardwareError(
            "states no range, so there is nothing to draw; add range: {compute: [shortest, longest], ...}",
            file=trend.file,
            key="range",
        )
    found = {}
    for figure, years in trend.doubling_years.items():
        if figure not in trend.range_years:
            found[figure] = np.full(draws, years)
            continue
        low, high = trend.range_years[figure]
        stream = trend.together[0] if figure in trend.together else figure
        uniform = rng.uniforms(rng.key(seed, "trend", stream), np.zeros(draws, np.int64), np.arange(draws))
        found[figure] = np.exp(triangular(uniform, np.log(low), np.log(years), np.log(high)))
    return found
