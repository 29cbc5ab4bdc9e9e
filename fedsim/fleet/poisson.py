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
_STRIDE = 64  # counters of one block: 0 for the number of events, then one for each event


def _distribution() -> Floats:
    """Cumulative Poisson probabilities, up to what a uniform on 52 bits can tell from 1."""
    terms = [math.exp(-PER_BLOCK)]
    while len(terms) < _STRIDE - 1:
        terms.append(terms[-1] * PER_BLOCK / len(terms))
    return np.cumsum(terms)


_CUMULATIVE = np.minimum(_distribution() * 2.0**52, 2.0**52).astype(np.uint64)


def _events(
    state: States, block: Ints, length_s: Floats
) -> tuple[Floats, NDArray[np.intp], NDArray[np.intp]]:
    """The events in one block of each of n processes.

    Returns:
        Times float64[m], process after process but in no particular order within one; and the row of
        the process that each belongs to; and how many each process has.
    """
    counter = block * _STRIDE
    uniform = rng.draws(state, counter)
    uniform >>= np.uint64(12)
    count = np.searchsorted(_CUMULATIVE[:-1], uniform, side="right")
    row = np.repeat(np.arange(state.size), count)
    nth = np.arange(1, row.size + 1) - (np.cumsum(count) - count)[row]
    place = (rng.draws(state[row], counter[row] + nth) >> np.uint64(34)).astype(np.float64)
    place += 0.5
    place *= 2.0**-30
    place += block[row]
    place *= length_s[row]
    return place, row, count


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
    time, row, count = _events(state, block, length)
    past = time <= time_s[row]
    previous = _least(np.where(past, -time, np.inf), count)
    following = _least(np.where(past, np.inf, time), count)
    back = np.flatnonzero(want_previous & np.isinf(previous))
    ahead = np.flatnonzero(want_next & np.isinf(following))
    found = np.concatenate([previous, following])
    # Whoever has none yet goes on block by block, backwards (times negated) or forwards.
    todo = np.concatenate([back, ahead + state.size])
    sign = np.repeat([-1, 1], [back.size, ahead.size])
    process = np.concatenate([back, ahead])
    state, length, block = state[process], length[process], block[process]
    while todo.size:
        block = block + sign
        time, row, count = _events(state, block, length)
        least = _least(time * sign[row], count)
        found[todo] = least
        rest = np.flatnonzero(np.isinf(least))
        todo, sign, state, length, block = todo[rest], sign[rest], state[rest], length[rest], block[rest]
    return -found[: previous.size], found[previous.size :]


def _least(values: Floats, count: NDArray[np.intp]) -> Floats:
    """The least of each row's values, ``inf`` for a row without any."""
    result = np.full(count.size, np.inf)
    if values.size:
        some = count > 0
        result[some] = np.minimum.reduceat(values, (np.cumsum(count) - count)[some])
    return result


def next_event_s(state: States, gap_s: Floats, time_s: Floats) -> Floats:
    """The first event after ``time_s`` (not at it) of each process; arguments as in :func:`around_s`."""
    yes = np.ones(state.size, dtype=np.bool_)
    return around_s(state, gap_s, time_s, ~yes, yes)[1]
