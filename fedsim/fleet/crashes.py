"""Crashes: each client's program or device fails at random instants, at a rate of its group.

The instants are a Poisson process of each client's own (:mod:`fedsim.fleet.poisson`). The last
answer for a client is kept for as long as it holds: there is no crash between the instant that was
asked about and the one that was answered.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fedsim import rng
from fedsim.fleet import poisson
from fedsim.fleet.who import Floats, Ints


class Crashes:
    """When the clients of a fleet crash.

    Args:
        per_s: float64[groups], crashes a second.
        group: int16[clients].
        seed: of the fleet.
    """

    def __init__(self, per_s: Floats, group: NDArray[np.int16], seed: int):
        self._per_s, self._group = per_s, group
        self._stream = rng.key(seed, "fleet", "crash")

    @cached_property
    def _asked_s(self) -> Floats:
        """When each client was last asked about: from the beginning to the end for one that never crashes."""
        return np.where(self._per_s > 0.0, np.inf, -np.inf)[self._group]

    @cached_property
    def _answer_s(self) -> Floats:
        return np.full(self._group.size, np.inf)

    def after_s(self, clients: Ints, time_s: Floats) -> Floats:
        """The first crash after ``time_s`` (not at it); infinite if there never is one."""
        answer: Floats = self._answer_s.take(clients)
        unknown = np.flatnonzero((self._asked_s.take(clients) > time_s) | (answer <= time_s))
        if unknown.size:
            some, now_s = clients[unknown], time_s[unknown]
            gap_s = 1.0 / self._per_s[self._group[some]]
            fresh = poisson.next_event_s(rng.states(self._stream, some), gap_s, now_s)
            answer[unknown] = fresh
            self._asked_s[some], self._answer_s[some] = now_s, fresh
        return answer
