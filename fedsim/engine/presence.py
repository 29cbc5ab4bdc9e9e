"""Who is online, and until when: the world's answers, kept for as long as they hold.

A client that was found online at one instant until another is online at every instant between.
Since a world's answers are pure, looking that up instead of asking again changes nothing.
"""

from __future__ import annotations

import numpy as np

from fedsim.engine.world import Floats, Ints, Times, World


class Presence:
    """Answers about availability for one simulation."""

    def __init__(self, world: World):
        self._world = world
        self._since_s = np.full(world.clients, np.inf)
        self._until_s = np.full(world.clients, -np.inf)

    def until_s(self, clients: Ints, time_s: Times) -> Floats:
        """The first instant from ``time_s`` on at which each client is not online.

        A client is online at ``time_s`` exactly if the answer is later.
        """
        until: Floats = self._until_s.take(clients)
        unknown = np.flatnonzero((until <= time_s) | (self._since_s.take(clients) > time_s))
        if unknown.size:
            who = clients[unknown]
            now = np.broadcast_to(np.asarray(time_s, dtype=np.float64), clients.shape)[unknown]
            fresh = self._world.offline_from_s(who, now)
            until[unknown] = fresh
            self._since_s[who] = now
            self._until_s[who] = fresh
        return until
