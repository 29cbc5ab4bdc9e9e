"""How sure a number of seconds is: a drawn speed for each device, and the interval that draws give.

A step's time is known up to a factor whose logarithm is normal, with the standard error that the
device's calibration states. A draw gives a device one such factor, which all its clients share, in
every power mode and technique alike; a precision that is known better moves by less. Memory is not
drawn: where it could be checked it was right (``trust.md`` in the guide).

The draws of a device stand at the middle of as many equally likely parts of the normal distribution,
in an order of the device's own (Latin hypercube sampling: McKay, Beckman and Conover, "A comparison
of three methods for selecting values of input variables", Technometrics 21, 1979). So ten draws hold
the 5% and the 95% quantile of every device exactly, and a device that joins changes no other's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedsim import rng

if TYPE_CHECKING:
    from fedsim.pricing.pricer import Pricer

LEVEL = 0.9
"""Of all intervals: as likely below as above."""

_NORMAL = NormalDist()
_Z = _NORMAL.inv_cdf((1.0 + LEVEL) / 2.0)

Floats = NDArray[np.float64]


def spread(standard_error: float) -> float:
    """By what factor a step's time goes from its middle to the high end of its interval."""
    return math.exp(_Z * math.log(standard_error))


def step_interval(pricer: Pricer, seconds: float) -> dict[str, float]:
    """``low``, ``high`` and ``level`` of ``seconds`` of steps; no draws are needed for one device."""
    factor = spread(pricer.standard_error)
    return {"low": seconds / factor, "high": seconds * factor, "level": LEVEL}


def board_of(device: str) -> str:
    """What errs together with a device of that name: the board of which it is a power mode, or itself."""
    return device.partition("@")[0]


def deviations(device: str, seed: int, draws: int) -> Floats:
    """float64[draws]: by how many standard errors each draw's speed of a device is off.

    Args:
        device: its name; the power modes of a board, ``NAME@MODE``, are off together.
        seed: of the run.
        draws: how many there are in all.
    """
    stream = rng.key(seed, "speed", board_of(device))
    rank = np.argsort(np.argsort(rng.uniforms(stream, np.arange(draws))))
    return np.array([_NORMAL.inv_cdf((place + 0.5) / draws) for place in rank.tolist()])


def factors(pricers: Sequence[Sequence[Pricer]], seed: int, draws: int) -> Floats:
    """float64[draws, techniques, devices]: what each draw multiplies the time of a step by.

    Args:
        pricers: of each device, in order, by technique.
        seed: of the run.
        draws: how many.
    """
    log_error = np.log([[one.standard_error for one in row] for row in pricers])
    off = np.array([deviations(row[0].device.name, seed, draws) for row in pricers])
    return np.asarray(np.exp(off.T[:, None, :] * log_error.T[None, :, :]))


def bounds(drawn: ArrayLike) -> tuple[Floats, Floats]:
    """The low and the high end of the interval of what draws gave: ``drawn`` has a row a draw.

    Quantiles with the draws in the middle of equally likely parts (Hazen's), so that fewer than ten
    draws give no more than their range. What is infinite in a draw never comes about in it.
    """
    ranked = np.sort(np.asarray(drawn, dtype=np.float64), axis=0)
    count = len(ranked)

    def at(share: float) -> Floats:
        place = min(max(share * count - 0.5, 0.0), count - 1.0)
        below = math.floor(place + 1e-9)
        part = max(place - below, 0.0)
        if part < 1e-9:
            return np.asarray(ranked[below])
        return np.asarray(ranked[below] * (1.0 - part) + ranked[below + 1] * part)

    return at((1.0 - LEVEL) / 2.0), at((1.0 + LEVEL) / 2.0)
