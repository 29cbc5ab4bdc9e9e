"""Markov on/off: a two-state continuous-time chain, answered at any time without simulating it.

A chain that leaves *online* at rate b and *offline* at rate a is what two independent Poisson
processes make: one of "go online" events at rate a, one of "go offline" events at rate b, the state
being that of the latest event of either (uniformisation: Jensen, "Markoff chains as an aid in the
study of Markoff processes", Skandinavisk Aktuarietidskrift 36, 1953). The events are hashed, so the
chain is exact and pure, and stationary from the start: P(online) = a / (a + b).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedsim import rng
from fedsim.errors import ScenarioError
from fedsim.fleet import poisson
from fedsim.fleet.who import Bools, Floats, Who


@dataclass(frozen=True)
class Markov:
    """Spans online and offline, each exponential.

    Attributes:
        online_s: mean length of a span online.
        offline_s: mean length of a span offline.
    """

    online_s: float
    offline_s: float

    def __post_init__(self) -> None:
        for name, value in (("online", self.online_s), ("offline", self.offline_s)):
            if not 1.0 <= value <= 1e9:
                raise ScenarioError(f"{value} s is no mean time {name}; give one from 1s to 10000d")

    def online(self, who: Who, time_s: Floats) -> Bools:
        """Whether the latest event is one that goes online."""
        on, off = _states(who)
        count = who.index.size
        last = poisson.previous_event_s(
            np.concatenate([on, off]),
            np.repeat([self.offline_s, self.online_s], count),
            np.concatenate([time_s, time_s]),
        )
        return np.asarray(last[:count] > last[count:])

    def offline_from_s(self, who: Who, time_s: Floats) -> Floats:
        """The next event that goes offline, or now."""
        return self._change(who, time_s, now=True)

    def online_from_s(self, who: Who, time_s: Floats) -> Floats:
        """Now, or the next event that goes online."""
        return self._change(who, time_s, now=False)

    def _change(self, who: Who, time_s: Floats, *, now: bool) -> Floats:
        """When each client whose state is ``now`` ceases to be in it; the others' own instant."""
        result = np.array(time_s, dtype=np.float64)
        rows = np.flatnonzero(self.online(who, time_s) == now)
        if rows.size:
            on, off = _states(who.take(rows))
            state, mean_s = (off, self.online_s) if now else (on, self.offline_s)
            result[rows] = poisson.next_event_s(state, np.full(rows.size, mean_s), result[rows])
        return result


def _states(who: Who) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Random states of each client's events that go online, and of those that go offline."""
    on = rng.key(who.seed, "availability", "markov", "on")
    off = rng.key(who.seed, "availability", "markov", "off")
    both = rng.states(np.array([[on], [off]], dtype=np.uint64), who.index)
    return both[0], both[1]
