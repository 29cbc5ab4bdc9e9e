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

    def _streams(self, who: Who) -> tuple[int, int]:
        return (
            rng.key(who.seed, "availability", "markov", "on"),
            rng.key(who.seed, "availability", "markov", "off"),
        )

    def online(self, who: Who, time_s: Floats) -> Bools:
        """Whether the latest event is one that goes online."""
        on, off = self._streams(who)
        went_on = poisson.previous_event_s(on, who.index, self.offline_s, time_s)
        went_off = poisson.previous_event_s(off, who.index, self.online_s, time_s)
        return np.asarray(went_on > went_off)

    def offline_from_s(self, who: Who, time_s: Floats) -> Floats:
        """The next event that goes offline, or now."""
        _, off = self._streams(who)
        until = poisson.next_event_s(off, who.index, self.online_s, time_s)
        return np.where(self.online(who, time_s), until, time_s)

    def online_from_s(self, who: Who, time_s: Floats) -> Floats:
        """Now, or the next event that goes online."""
        on, _ = self._streams(who)
        until = poisson.next_event_s(on, who.index, self.offline_s, time_s)
        return np.where(self.online(who, time_s), time_s, until)
