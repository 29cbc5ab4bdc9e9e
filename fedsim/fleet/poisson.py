"""Poisson processes without memory: any client's events around any time, in any order of asking.

Time is cut into blocks of two mean gaps. A block's number of events and their places in it are
hashes of (stream, client, block), so an event is where it is whoever asks, whenever. The number is
Poisson by inversion and the places are uniform, which makes the whole an exact Poisson process (up
to the grid of 2**-30 block on which places lie, so that comparing times is safe from rounding).
"""

from __future__ import annotations

import math

import numpy as np

from fedsim import rng
from fedsim.fleet.who import Floats, Ints

PER_BLOCK = 2.0  # mean events in a block
_STRIDE = 64  # counters of one block: 0 for the number of events, then two for each event


def _distribution() -> Floats:
    """Cumulative Poisson probabilities, up to what a uniform on 52 bits can tell from 1."""
    terms = [math.exp(-PER_BLOCK)]
    while len(terms) < _STRIDE // 2 - 1:
        terms.append(terms[-1] * PER_BLOCK / len(terms))
    return np.cumsum(terms)


_CUMULATIVE = _distribution()


def block_s(gap_s: float) -> float:
    """Length of a block of the process with mean gap ``gap_s``."""
    return PER_BLOCK * gap_s


def events(stream: int, client: Ints, block: Ints, gap_s: float) -> tuple[Floats, Ints, Ints, Ints]:
    """The events in one block of each client.

    Args:
        stream: the random stream's key.
        client: int64[n].
        block: int64[n], block ``b`` spans ``[b, b + 1) * block_s(gap_s)``; may be negative.
        gap_s: mean time between events.

    Returns:
        Times float64[m] in no particular order within a client; the row in ``client`` that each
        belongs to, int64[m], ascending; a counter int64[m] that with the client names each event,
        for further draws about it; and how many events each row has, int64[n].
    """
    first = block * _STRIDE
    count = np.searchsorted(_CUMULATIVE, rng.uniforms(stream, client, first), side="right").astype(np.int64)
    count = np.minimum(count, _CUMULATIVE.size - 1)
    row = np.repeat(np.arange(client.size), count)
    nth = np.arange(row.size) - np.repeat(np.cumsum(count) - count, count)
    counter = first[row] + 1 + 2 * nth
    place = (rng.bits(stream, client[row], counter) >> np.uint64(34)).astype(np.float64)
    time = (block[row] + (place + 0.5) * 2.0**-30) * block_s(gap_s)
    return time, row, counter, count


def _reduce(ufunc: np.ufunc, values: Floats, count: Ints, empty: float) -> Floats:
    """``ufunc`` over each row's values, ``empty`` for a row without any."""
    result = np.full(count.size, empty)
    some = count > 0
    if some.any():
        result[some] = ufunc.reduceat(values, (np.cumsum(count) - count)[some])
    return result


def next_event_s(stream: int, client: Ints, gap_s: float, time_s: Floats) -> Floats:
    """The first event after ``time_s`` (not at it) of each client; ``time_s`` must be finite."""
    result = np.full(client.size, np.inf)
    todo = np.arange(client.size)
    block = np.floor(time_s / block_s(gap_s)).astype(np.int64)
    while todo.size:
        after = time_s[todo]
        time, row, _, count = events(stream, client[todo], block, gap_s)
        found = _reduce(np.minimum, np.where(time > after[row], time, np.inf), count, np.inf)
        result[todo] = found
        rest = np.isinf(found)
        todo, block = todo[rest], block[rest] + 1
    return result


def previous_event_s(stream: int, client: Ints, gap_s: float, time_s: Floats) -> Floats:
    """The last event up to ``time_s`` (or at it) of each client; ``time_s`` must be finite."""
    result = np.full(client.size, -np.inf)
    todo = np.arange(client.size)
    block = np.floor(time_s / block_s(gap_s)).astype(np.int64)
    while todo.size:
        before = time_s[todo]
        time, row, _, count = events(stream, client[todo], block, gap_s)
        found = _reduce(np.maximum, np.where(time <= before[row], time, -np.inf), count, -np.inf)
        result[todo] = found
        rest = np.isinf(found)
        todo, block = todo[rest], block[rest] - 1
    return result
