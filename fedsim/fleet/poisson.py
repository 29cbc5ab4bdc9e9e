"""Poisson processes without memory: any client's events around any time, in any order of asking.

Time is cut into blocks of four mean gaps. A block's number of events and their places in it are
hashes of (stream, client, block), so an event is where it is whoever asks, whenever. The number is
Poisson by inversion and the places are uniform, which makes the whole an exact Poisson process (up
to the grid of 2**-30 block on which places lie, so that comparing times is safe from rounding).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fedsim import rng
from fedsim.fleet.who import Bools, Floats, Ints

States = NDArray[np.uint64]

PER_BLOCK = 4.0  # mean events in a block
AT_ONCE = 8  # events of a block looked at together; there are more in 2% of blocks
_STRIDE = 64  # counters of one block: 0 for the number of events, then one for each two events


def _distribution() -> Floats:
    """Cumulative Poisson probabilities, up to what a uniform on 52 bits can tell from 1."""
    terms = [math.exp(-PER_BLOCK)]
    while len(terms) < _STRIDE - 1:
        terms.append(terms[-1] * PER_BLOCK / len(terms))
    return np.cumsum(terms)


_CUMULATIVE = np.minimum(_distribution() * 2.0**52, 2.0**52).astype(np.uint64)[:-1]
_NTH = np.arange(AT_ONCE)[:, None]
_TOP = np.uint64(12)
_PLACES = 1 << 30  # places in a block


def _around(state: States, block: Ints, length_s: Floats, time_s: Floats) -> tuple[Floats, Floats]:
    """Within one block of each of n processes: the last event up to an instant, the first one after it.

    Returns:
        float64[n] each; ``-inf`` and ``inf`` where there is none.
    """
    counter = block * _STRIDE
    draw = rng.successive(state, counter, 1 + AT_ONCE // 2)
    count = _CUMULATIVE.searchsorted(draw[0] >> _TOP, side="right")
    grid_s, first_place = length_s / _PLACES, block.astype(np.float64) * _PLACES + 0.5
    previous, following = _nearest(draw[1:], count, first_place, grid_s, time_s)
    rows, first = np.flatnonzero(count > AT_ONCE), AT_ONCE
    while rows.size:
        draw = rng.successive(state[rows], counter[rows] + (1 + first // 2), AT_ONCE // 2)
        some = _nearest(draw, count[rows] - first, first_place[rows], grid_s[rows], time_s[rows])
        previous[rows] = np.maximum(previous[rows], some[0])
        following[rows] = np.minimum(following[rows], some[1])
        first += AT_ONCE
        rows = rows[count[rows] > first]
    return previous, following


def _nearest(
    draw: NDArray[np.uint64], count: Ints, first_place: Floats, grid_s: Floats, time_s: Floats
) -> tuple[Floats, Floats]:
    """The same among the first ``count`` of the events whose places are in ``draw``, two in each."""
    half = draw.shape[0]
    event_s = np.empty((AT_ONCE, count.size))
    event_s[:half] = draw >> np.uint64(34)
    event_s[half:] = (draw >> np.uint64(4)) & np.uint64(_PLACES - 1)
    event_s += first_place
    event_s *= grid_s
    event_s[count <= _NTH] = np.nan
    past = event_s <= time_s
    previous = np.where(past, event_s, -np.inf).max(axis=0)
    following = np.where(event_s > time_s, event_s, np.inf).min(axis=0)
    return previous, following


def around_s(
    state: States, gap_s: Floats, time_s: Floats, want_previous: Bools, want_next: Bools
) -> tuple[Floats, Floats]:
    """The last event up to ``time_s`` (or at it) of each process, and the first after it.

    Args:
        state: uint64[n], one for each process, from :func:`fedsim.rng.states`.
        gap_s: float64[n], mean time between its events.
        time_s: float64[n], finite.
        want_previous: bool[n], where the former is needed; elsewhere it may be ``-inf``.
        want_next: bool[n], where the latter is needed; elsewhere it may be ``inf``.
    """
    length = PER_BLOCK * gap_s
    block = np.floor(time_s / length).astype(np.int64)
    previous, following = _around(state, block, length, time_s)
    back = np.flatnonzero(want_previous & (previous == -np.inf))
    ahead = np.flatnonzero(want_next & (following == np.inf))
    # Whoever has none yet goes on block by block, backwards or forwards.
    process = np.concatenate([back, ahead])
    step = np.ones(process.size, dtype=np.int64)
    step[: back.size] = -1
    at = block[process]
    while process.size:
        at += step
        last, first = _around(state[process], at, length[process], np.where(step < 0, np.inf, -np.inf))
        rows = np.flatnonzero((step < 0) & (last > -np.inf))
        previous[process[rows]] = last[rows]
        rows = np.flatnonzero((step > 0) & (first < np.inf))
        following[process[rows]] = first[rows]
        rest = np.flatnonzero(np.isinf(np.where(step < 0, last, first)))
        process, step, at = process[rest], step[rest], at[rest]
    return previous, following


def next_event_s(state: States, gap_s: Floats, time_s: Floats) -> Floats:
    """The first event after ``time_s`` (not at it) of each process; arguments as in :func:`around_s`."""
    yes = np.ones(state.size, dtype=np.bool_)
    return around_s(state, gap_s, time_s, ~yes, yes)[1]
