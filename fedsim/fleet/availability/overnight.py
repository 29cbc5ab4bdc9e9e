"""Overnight: online while the owner sleeps, the device idle, charging and on wifi.

That is when a phone may train in production systems (Bonawitz et al., "Towards Federated Learning
at Scale: System Design", MLSys 2019, section 2.2: idle, charging, on an unmetered network; their
figure 6 shows the daily swing). The hours, their jitter and the share of nights are estimated.

Each night of each client has a window of its own, in local time. Windows of successive nights
never touch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fedsim import rng
from fedsim.fleet.availability.base import Availability
from fedsim.fleet.family import stacked, take
from fedsim.fleet.hours import TIME_OF_DAY
from fedsim.fleet.who import Floats, Ints, Who, on_grid
from fedsim.options import DurationOrZero, kind, option
from fedsim.units import DAY_S, HOUR_S

LOOK_AHEAD_DAYS = 3660  # a client with no night in ten years is never online again


@dataclass(frozen=True)
class Overnight(Availability):
    """While the owner sleeps: a window a night."""

    opens: DurationOrZero = option(
        22.5 * HOUR_S, "when it opens, after local midnight", lt=DAY_S, right=TIME_OF_DAY
    )
    closes: DurationOrZero = option(30.5 * HOUR_S, "when it closes, after the same midnight; 30h is 6 am")
    jitter: DurationOrZero = option(1.5 * HOUR_S, "by how much either edge moves at most, each night")
    nights: float = option(0.85, "share of nights on which it charges and is on wifi at all", ge=0, le=1)
    kind: Literal["overnight"] = kind("overnight")

    together = staticmethod(stacked)

    def __post_init__(self) -> None:
        if not np.all(self.opens + 2 * self.jitter < self.closes):
            raise ValueError("an overnight window must be longer than twice its jitter")
        if not np.all(self.closes + 2 * self.jitter < self.opens + DAY_S):
            raise ValueError("overnight windows, jitter included, must leave a gap before the next night")

    def _window(self, who: Who, day: Ints) -> tuple[Floats, Floats]:
        """Start and end in UTC of the window of local day ``day``; empty if there is none that night."""
        draw = rng.bits(rng.key(who.seed, "availability", "overnight"), who.index, day)
        first, second, third = (_share(draw, at) for at in (0, 21, 42))
        midnight = day * DAY_S - who.utc_offset_s
        start = midnight + on_grid(self.opens + self.jitter * (2.0 * first - 1.0))
        end = midnight + on_grid(self.closes + self.jitter * (2.0 * second - 1.0))
        return start, np.where(third < self.nights, end, start)

    def _day(self, who: Who, time_s: Floats) -> Ints:
        """The day whose window is the only one that can hold each instant, jitter included."""
        return np.floor((time_s + (who.utc_offset_s - self.opens + self.jitter)) / DAY_S).astype(np.int64)

    def _until(self, who: Who, time_s: Floats) -> Floats:
        """End of the window that holds ``time_s``, ``-inf`` if none does."""
        start, end = self._window(who, self._day(who, time_s))
        return np.where((start <= time_s) & (time_s < end), end, -np.inf)

    def offline_from_s(self, who: Who, time_s: Floats) -> Floats:
        """The end of the window, or now."""
        return np.maximum(self._until(who, time_s), time_s)

    def online_from_s(self, who: Who, time_s: Floats) -> Floats:
        """Now, or the start of the next window."""
        result = np.where(self._until(who, time_s) > time_s, time_s, np.inf)
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

    def _take(self, rows: NDArray[np.intp]) -> Overnight:
        return take(self, rows)


def _share(draw: NDArray[np.uint64], at: int) -> Floats:
    """21 of the 64 bits as a number in (0, 1)."""
    part = (draw >> np.uint64(at)) & np.uint64(0x1FFFFF)
    return np.asarray((part.astype(np.float64) + 0.5) * 2.0**-21)
