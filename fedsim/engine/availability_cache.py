"""Who is online, and until when: the world's answers, kept for as long as they hold.

A client that was found online at one instant until another is online at every instant between, and
so it is with being offline. Since a world's answers are pure, looking that up instead of asking
again changes nothing.
"""

from __future__ import annotations

import numpy as np

from fedsim.engine.world import Floats, Ints, Times, World


class AvailabilityCache:
    """Answers about availability for one simulation."""

    def __init__(self, world: World):
        self._world = world
        self._since_s = np.full(world.clients, np.inf)
        self._until_s = np.full(world.clients, -np.inf)
        self._back_s: Floats | None = None  # offline from ``_since_s`` until then, where that is kept

    def ask_once_while_offline(self) -> None:
        """Ask of clients that are offline until when: it pays where the same are asked about often."""
        if self._back_s is None:
            self._back_s = np.full(self._world.clients, -np.inf)

    def until_s(self, clients: Ints, time_s: Times) -> Floats:
        """The first instant from ``time_s`` on at which each client is not online.

        A client is online at ``time_s`` exactly if the answer is later.
        """
        until: Floats = self._until_s.take(clients)
        since = self._since_s.take(clients)
        known = until > time_s
        if self._back_s is not None:
            known |= self._back_s.take(clients) > time_s
        known &= since <= time_s
        unknown = (~known).nonzero()[0]
        if unknown.size:
            who = clients[unknown]
            now = np.broadcast_to(np.asarray(time_s, dtype=np.float64), clients.shape)[unknown]
            fresh = self._world.offline_from_s(who, now)
            until[unknown] = fresh
            self._since_s[who], self._until_s[who] = now, fresh
            if self._back_s is not None:
                back, offline = np.full(who.size, -np.inf), (fresh <= now).nonzero()[0]
                if offline.size:
                    back[offline] = self._world.online_from_s(who[offline], now[offline])
                self._back_s[who] = back
        return np.maximum(until, time_s)
