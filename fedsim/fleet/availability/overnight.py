"""Overnight: online while the owner sleeps, the device idle, charging and on wifi.

That is when a phone may train in production systems (Bonawitz et al., "Towards Federated Learning
at Scale: System Design", MLSys 2019, section 2.2: idle, charging, on an unmetered network; their
figure 6 shows the daily swing). The hours, their jitter and the share of nights are estimated.

Each night of each client has a window of its own, in local time. Windows of successive nights
never touch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fedsim import rng
from fedsim.errors import ScenarioError
from fedsim.fleet.who import Bools, Floats, Ints, Who, on_grid
from fedsim.units import DAY_S, HOUR_S

LOOK_AHEAD_DAYS = 3660  # a client with no night in ten years is never online again


@dataclass(frozen=True)
class Overnight:
    """A window a night.

    Attributes:
        from_s: when it opens, seconds after local midnight.
        until_s: when it closes, seconds after the same midnight (30 h is 6 in the morning).
        jitter_s: by how much either edge moves, at most, uniformly and independently each night.
        nights: share of nights on which the device is charging and on wifi at all.
    """

    from_s: float = 22.5 * HOUR_S
    until_s: float = 30.5 * HOUR_S
    jitter_s: float = 1.5 * HOUR_S
    nights: float = 0.85

    def __post_init__(self) -> None:
        if not 0.0 <= self.from_s < DAY_S:
            raise ScenarioError(
                f"an overnight window cannot open {self.from_s} s after midnight; give 0h to 24h"
            )
        if not (self.jitter_s >= 0.0 and self.from_s + 2 * self.jitter_s < self.until_s):
            raise ScenarioError("an overnight window must be longer than twice its jitter")
        if not self.until_s + 2 * self.jitter_s < self.from_s + DAY_S:
            raise ScenarioError("overnight windows, jitter included, must leave a gap before the next night")
        if not 0.0 <= self.nights <= 1.0:
            raise ScenarioError(f"{self.nights} is no share of nights; give a number from 0 to 1")

    @staticmethod
    def together(models: Sequence[Overnight]) -> Callable[[Ints], Nights]:
        """Gives the nights of clients, row ``k`` with the figures of ``models[which[k]]``."""
        figures = np.array([(m.from_s, m.until_s, m.jitter_s, m.nights) for m in models]).T
        return lambda which: Nights(*figures[:, which])

    def online(self, who: Who, time_s: Floats) -> Bools:
        """Whether a window holds the instant."""
        return self._alone.online(who, time_s)

    def offline_from_s(self, who: Who, time_s: Floats) -> Floats:
        """The end of the window, or now."""
        return self._alone.offline_from_s(who, time_s)

    def online_from_s(self, who: Who, time_s: Floats) -> Floats:
        """Now, or the start of the next window."""
        return self._alone.online_from_s(who, time_s)

    @cached_property
    def _alone(self) -> Nights:
        return self.together([self])(np.zeros(1, dtype=np.int64))


@dataclass(frozen=True, eq=False)
class Nights:
    """Windows whose figures may differ from client to client; float64[n] or [1]. See :class:`Overnight`."""

    from_s: Floats
    until_s: Floats
    jitter_s: Floats
    nights: Floats

    def _window(self, who: Who, day: Ints) -> tuple[Floats, Floats]:
        """Start and end in UTC of the window of local day ``day``; empty if there is none that night."""
        draw = rng.bits(rng.key(who.seed, "availability", "overnight"), who.index, day)
        first, second, third = (_share(draw, at) for at in (0, 21, 42))
        midnight = day * DAY_S - who.utc_offset_s
        start = midnight + on_grid(self.from_s + self.jitter_s * (2.0 * first - 1.0))
        end = midnight + on_grid(self.until_s + self.jitter_s * (2.0 * second - 1.0))
        return start, np.where(third < self.nights, end, start)

    def _day(self, who: Who, time_s: Floats) -> Ints:
        """The day whose window is the only one that can hold each instant, jitter included."""
        return np.floor((time_s + (who.utc_offset_s - self.from_s + self.jitter_s)) / DAY_S).astype(np.int64)

    def _until(self, who: Who, time_s: Floats) -> Floats:
        """End of the window that holds ``time_s``, ``-inf`` if none does."""
        start, end = self._window(who, self._day(who, time_s))
        return np.where((start <= time_s) & (time_s < end), end, -np.inf)

    def online(self, who: Who, time_s: Floats) -> Bools:
        """Whether a window holds the instant."""
        return np.asarray(self._until(who, time_s) > time_s)

    def offline_from_s(self, who: Who, time_s: Floats) -> Floats:
        """The end of the window, or now."""
        return np.maximum(self._until(who, time_s), time_s)

    def online_from_s(self, who: Who, time_s: Floats) -> Floats:
        """Now, or the start of the next window."""
        result = np.where(self.online(who, time_s), time_s, np.inf)
        nights = np.broadcast_to(self.nights, time_s.shape)
        todo = np.flatnonzero(np.isinf(result) & (nights > 0.0))
        day = self._day(who, time_s)[todo]
        for _ in range(LOOK_AHEAD_DAYS):
            if not todo.size:
                break
            start, end = self._take(todo)._window(who.take(todo), day)
            good = (start >= time_s[todo]) & (end > start)
            result[todo[good]] = start[good]
            todo, day = todo[~good], day[~good] + 1
        return result

    def _take(self, rows: NDArray[np.intp]) -> Nights:
        if self.from_s.size == 1:
            return self
        return Nights(self.from_s[rows], self.until_s[rows], self.jitter_s[rows], self.nights[rows])


def _share(draw: NDArray[np.uint64], at: int) -> Floats:
    """21 of the 64 bits as a number in (0, 1)."""
    part = (draw >> np.uint64(at)) & np.uint64(0x1FFFFF)
    return np.asarray((part.astype(np.float64) + 0.5) * 2.0**-21)
