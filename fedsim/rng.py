"""Named random streams: one per purpose and client, so that no draw ever moves another.

Two forms. ``generator`` gives a numpy generator for one purpose (the server's selection, the
initial weights). ``uniforms`` and ``normals`` are counter-based: the draw for (client, counter)
is a pure function of seed, stream name, client and counter. Asking in any order, or for any
subset of clients, gives the same answers, and a client added to the fleet changes nobody else's.

The mixing function is the finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable
pseudorandom number generators", OOPSLA 2014), applied once per key part.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


@lru_cache(maxsize=4096)
def key(seed: int, *names: str | int) -> int:
    """A 64-bit key for a stream, from the run's seed and the stream's name parts."""
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """A numpy generator of its own for the stream ``names`` of a run with ``seed``."""
    return np.random.Generator(np.random.Philox(key(seed, *names)))


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix in place; ``state`` must be an array of at least one dimension, where overflow is silent."""
    state ^= state >> np.uint64(30)
    state *= _MIX_1
    state ^= state >> np.uint64(27)
    state *= _MIX_2
    state ^= state >> np.uint64(31)
    return state


def _counted(value: ArrayLike) -> NDArray[np.uint64]:
    """``value + 1`` golden steps, as a new array of at least one dimension."""
    steps = np.atleast_1d(np.asarray(value, dtype=np.int64)) + np.int64(1)
    golden: NDArray[np.uint64] = steps.view(np.uint64)
    golden *= _GOLDEN
    return golden


def states(stream: int | NDArray[np.uint64], client: ArrayLike) -> NDArray[np.uint64]:
    """What :func:`draws` needs of a stream and clients, for those who draw many times.

    Args:
        stream: the stream's key, from :func:`key`; or an array of them that broadcasts.
        client: non-negative integers, of at least one dimension in the result.
    """
    return _mix(_counted(client) + np.asarray(stream, dtype=np.uint64))


def draws(state: NDArray[np.uint64], counter: ArrayLike) -> NDArray[np.uint64]:
    """64 random bits for each state and counter; the two broadcast. Equal to :func:`bits`."""
    return _mix(state + _counted(counter))


def successive(state: NDArray[np.uint64], counter: NDArray[np.int64], count: int) -> NDArray[np.uint64]:
    """:func:`draws` for ``count`` counters in a row from ``counter`` on: uint64[count, n]."""
    return _mix((state + _counted(counter)) + _counted(np.arange(-1, count - 1))[:, None])


def bits(stream: int, client: ArrayLike, counter: ArrayLike = 0) -> NDArray[np.uint64]:
    """64 random bits for each (client, counter); the two arguments broadcast.

    Args:
        stream: the stream's key, from :func:`key`.
        client: non-negative integers.
        counter: integers; the second coordinate (a round, an hour, a draw number).
    """
    shape = np.broadcast_shapes(np.shape(client), np.shape(counter))
    return draws(states(stream, client), counter).reshape(shape)


def uniforms(stream: int, client: ArrayLike, counter: ArrayLike = 0) -> NDArray[np.float64]:
    """Uniform draws in the open interval (0, 1), one for each (client, counter)."""
    return uniform(bits(stream, client, counter))


def uniform(draw: NDArray[np.uint64]) -> NDArray[np.float64]:
    """64 random bits each as a uniform draw in the open interval (0, 1)."""
    top = (draw >> np.uint64(12)).astype(np.float64)
    top += 0.5
    top *= 2.0**-52
    return top


def normals(stream: int, client: ArrayLike, counter: ArrayLike = 0) -> NDArray[np.float64]:
    """Standard normal draws, one for each (client, counter), by Box and Muller's transform."""
    first = uniforms(stream, client, counter)
    second = uniforms(stream ^ 0x5851F42D4C957F2D, client, counter)
    return np.asarray(np.sqrt(-2.0 * np.log(first)) * np.cos(2.0 * np.pi * second))
