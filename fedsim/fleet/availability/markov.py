"""Markov on/off: a two-state continuous-time chain, answered at any time without simulating it.

A chain that leaves *online* at rate b and *offline* at rate a is what two independent Poisson
processes make: one of "go online" events at rate a, one of "go offline" events at rate b, the state
being that of the latest event of either (uniformisation: Jensen, "Markoff chains as an aid in the
study of Markoff processes", Skandinavisk Aktuarietidskrift 36, 1953). The events are hashed, so the
chain is exact and pure, and stationary from the start: P(online) = a / (a + b).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fedsim import rng
from fedsim.fleet import poisson
from fedsim.fleet.availability.base import Availability
from fedsim.fleet.family import stacked
from fedsim.fleet.who import Bools, Floats, Who
from fedsim.options import Duration, kind, option

MEAN = "a mean time from 1s to 10000d"


@dataclass(frozen=True)
class Markov(Availability):
    """On and off at random: spells online and offline, each exponential."""

    mean_online: Duration = option(description="mean length of an online spell", ge=1, le=864e6, right=MEAN)
    mean_offline: Duration = option(description="mean length of an offline spell", ge=1, le=864e6, right=MEAN)
    kind: Literal["markov"] = kind("markov")

    together = staticmethod(stacked)

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
        gap_s[0], gap_s[1] = self.mean_offline, self.mean_online
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
