"""Markov on/off: a two-state continuous-time chain, answered at any time without simulating it.

A chain that leaves *online* at rate b and *offline* at rate a is what two independent Poisson
processes make: one of "go online" events at rate a, one of "go offline" events at rate b, the state
being that of the latest event of either (uniformisation: Jensen, "Markoff chains as an aid in the
study of Markoff processes", Skandinavisk Aktuarietidskrift 36, 1953). The events are hashed, so the
chain is exact and pure, and stationary from the start: P(online) = a / (a + b).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fedsim import rng
from fedsim.errors import ScenarioError
from fedsim.fleet import poisson
from fedsim.fleet.who import Bools, Floats, Ints, Who


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

    @staticmethod
    def together(models: Sequence[Markov]) -> Callable[[Ints], Chains]:
        """Gives the chains of clients, row ``k`` with the figures of ``models[which[k]]``."""
        online, offline = np.array([(m.online_s, m.offline_s) for m in models]).T
        return lambda which: Chains(online[which], offline[which])

    def online(self, who: Who, time_s: Floats) -> Bools:
        """Whether the latest event is one that goes online."""
        return self._alone.online(who, time_s)

    def offline_from_s(self, who: Who, time_s: Floats) -> Floats:
        """The next event that goes offline, or now."""
        return self._alone.offline_from_s(who, time_s)

    def online_from_s(self, who: Who, time_s: Floats) -> Floats:
        """Now, or the next event that goes online."""
        return self._alone.online_from_s(who, time_s)

    @cached_property
    def _alone(self) -> Chains:
        return self.together([self])(np.zeros(1, dtype=np.int64))


@dataclass(frozen=True, eq=False)
class Chains:
    """Markov on/off with figures that may differ from client to client; float64[n] or [1]."""

    online_s: Floats
    offline_s: Floats

    def online(self, who: Who, time_s: Floats) -> Bools:
        """Whether the latest event is one that goes online."""
        return self._look(who, time_s, False, False)[0]

    def offline_from_s(self, who: Who, time_s: Floats) -> Floats:
        """The next event that goes offline, or now."""
        online, _, goes_off = self._look(who, time_s, False, True)
        return np.where(online, goes_off, time_s)

    def online_from_s(self, who: Who, time_s: Floats) -> Floats:
        """Now, or the next event that goes online."""
        online, goes_on, _ = self._look(who, time_s, True, False)
        return np.where(online, time_s, goes_on)

    def _look(self, who: Who, time_s: Floats, on: bool, off: bool) -> tuple[Bools, Floats, Floats]:
        """Whether online; and if wanted the next event that goes online, and that goes offline."""
        count = who.index.size
        gap_s = np.empty((2, count))
        gap_s[0], gap_s[1] = self.offline_s, self.online_s
        previous, following = poisson.around_s(
            _states(who),
            gap_s.ravel(),
            np.concatenate([time_s, time_s]),
            np.ones(2 * count, dtype=np.bool_),
            np.repeat([on, off], count),
        )
        return previous[:count] > previous[count:], following[:count], following[count:]


def _states(who: Who) -> NDArray[np.uint64]:
    """Random states of each client's events that go online, then those of the ones that go offline."""
    on = rng.key(who.seed, "availability", "markov", "on")
    off = rng.key(who.seed, "availability", "markov", "off")
    return rng.states(np.array([[on], [off]], dtype=np.uint64), who.index).ravel()
