"""Whom each of many requests would choose, as more and more becomes known of who is at work.

Each request has its own row of draws. Those that are online and accepted are its candidates, in order;
they are found once and kept, since time does not change them. Which of them the request chooses, the
first that is not at work then, can be asked again and again.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fedsim import rng
from fedsim.engine.availability_cache import AvailabilityCache
from fedsim.engine.world import Bools, Floats, Ints

DRAWS = 64  # of a request, before it is left to be looked at by itself
KEPT = 8  # candidates of a request, likewise
LEAST, MOST = 4, 8  # draws of a request looked at together, with many requests and with few
TOGETHER = 512

Rows = NDArray[np.intp]
AcceptEach = Callable[[Ints, Ints, Floats], Bools]
Free = Callable[[Ints, Rows], Bools]


class Drawn:
    """The candidates of requests that each want one client.

    Args:
        clients: how many there are in the fleet.
        availability: who is online.
        stream: of the draws.
        accept: a further test of clients that are online, given round numbers and instants.

    Attributes:
        time_s: float64[requests], when each request is.
    """

    def __init__(
        self, clients: int, availability: AvailabilityCache, stream: int, accept: AcceptEach | None = None
    ):
        self._fleet, self._availability, self._stream, self._accept = clients, availability, stream, accept
        self.time_s = np.zeros(0)
        self._state = np.zeros(0, dtype=np.uint64)
        self._round = np.zeros(0, dtype=np.int64)
        self._seen = np.zeros(0, dtype=np.int64)  # draws looked at
        self._count = np.zeros(0, dtype=np.int64)  # candidates among them
        self._candidate = np.zeros((0, KEPT), dtype=np.int64)
        self._passed = np.zeros(0, dtype=np.int64)  # candidates passed over when the request last chose

    def add(self, number: Ints, round_index: Ints, time_s: Floats) -> None:
        """More requests, with the numbers by which their draws are made."""
        self.time_s = np.concatenate([self.time_s, time_s])
        self._state = np.concatenate([self._state, rng.states(self._stream, number)])
        self._round = np.concatenate([self._round, round_index])
        none = np.zeros(number.size, dtype=np.int64)
        self._seen, self._count = np.concatenate([self._seen, none]), np.concatenate([self._count, none])
        self._passed = np.concatenate([self._passed, none])
        self._candidate = np.concatenate([self._candidate, np.full((number.size, KEPT), -1)])

    def choose(self, rows: Rows, free: Free) -> Ints:
        """The client that each of these requests chooses; -1 where that takes a closer look.

        Args:
            rows: int[m], requests in order of their adding.
            free: whether clients are not at work at the instants of requests.
        """
        chosen = np.full(rows.size, -1, dtype=np.int64)
        todo, nth = np.arange(rows.size), np.zeros(rows.size, dtype=np.int64)
        while todo.size:
            request = rows[todo]
            missing = self._count[request] <= nth[todo]
            if missing.any():
                self._look(request[missing])
                known = self._count[request] > nth[todo]
                over = ~known & ((self._seen[request] >= DRAWS) | (self._count[request] >= KEPT))
                if over.any():
                    todo, known = todo[~over], known[~over]
                ask = todo[known]
            else:
                ask = todo
            request = rows[ask]
            client = self._candidate[request, nth[ask]]
            good = free(client, request)
            chosen[ask[good]] = client[good]
            nth[ask[~good]] += 1
            todo = todo[(chosen[todo] < 0) & (nth[todo] < KEPT)]
        self._passed[rows] = nth
        return chosen

    def looked_at(self, rows: Rows, which: Free) -> Bools:
        """Whether ``which`` holds for the client that each of these requests has chosen or passed over."""
        passed = self._passed[rows]
        found = which(self._candidate[rows, np.minimum(passed, KEPT - 1)], rows)
        more = np.flatnonzero(passed)
        for nth in range(KEPT):
            if not more.size:
                break
            found[more] |= which(self._candidate[rows[more], nth], rows[more])
            more = more[passed[more] > nth + 1]
        return found

    def _look(self, request: Rows) -> None:
        """Look at a few more draws of each of these requests."""
        some = MOST if request.size < TOGETHER // MOST else LEAST
        draw = rng.draws(self._state[request][:, None], self._seen[request][:, None] + np.arange(some))
        uniform = rng.uniform(draw)
        clients = (uniform * self._fleet).astype(np.int64)
        flat, row = clients.ravel(), np.repeat(request, some)
        time_s = self.time_s[row]
        good = self._availability.until_s(flat, time_s) > time_s
        if self._accept is not None and good.any():
            good[good] = self._accept(flat[good], self._round[row[good]], time_s[good])
        good = good.reshape(clients.shape)
        place = self._count[request][:, None] + np.cumsum(good, axis=1) - 1
        keep = good & (place < KEPT)
        at, _ = np.nonzero(keep)
        self._candidate[request[at], place[keep]] = clients[keep]
        self._count[request] = np.minimum(place[:, -1] + 1, KEPT)
        self._seen[request] += some
