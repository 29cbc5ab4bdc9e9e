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
from fedsim.fleet.who import Floats, Ints

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
    uniform = rng.draws(state, counter) >> np.uint64(12)
    count = np.searchsorted(_CUMULATIVE[:-1], uniform, side="right")
    row = np.repeat(np.arange(state.size), count)
    nth = np.arange(1, row.size + 1) - (np.cumsum(count) - count)[row]
    place = (rng.draws(state[row], counter[row] + nth) >> np.uint64(34)).astype(np.float64)
    place += 0.5
    place *= 2.0**-30
    place += block[row]
    place *= length_s[row]
    return place, row, count


def _search(state: States, gap_s: Floats, time_s: Floats, *, forward: bool) -> Floats:
    """Events next to ``time_s`` in one direction, block after block until each process has one."""
    length = PER_BLOCK * gap_s
    block = np.floor(time_s / length).astype(np.int64)
    none, step = (np.inf, 1) if forward else (-np.inf, -1)
    result = np.full(time_s.size, none)
    todo = np.arange(time_s.size)
    while todo.size:
        time, row, count = _events(state, block, length)
        usable = time > time_s[row] if forward else time <= time_s[row]
        time = np.where(usable, time, none)
        some = count > 0
        found = np.full(todo.size, none)
        if time.size:
            begins = (np.cumsum(count) - count)[some]
            found[some] = (np.minimum if forward else np.maximum).reduceat(time, begins)
        result[todo] = found
        rest = np.flatnonzero(np.isinf(found))
        todo, state, length, time_s = todo[rest], state[rest], length[rest], time_s[rest]
        block = block[rest] + step
    return result


def next_event_s(state: States, gap_s: Floats, time_s: Floats) -> Floats:
    """The first event after ``time_s`` (not at it) of each process.

    Args:
        state: uint64[n], one for each process, from :func:`fedsim.rng.states`.
        gap_s: float64[n], mean time between its events.
        time_s: float64[n], finite.
    """
    return _search(state, gap_s, time_s, forward=True)


def previous_event_s(state: States, gap_s: Floats, time_s: Floats) -> Floats:
    """The last event up to ``time_s`` (or at it) of each process; arguments as in :func:`next_event_s`."""
    return _search(state, gap_s, time_s, forward=False)
