"""Hours of the local day, in which things happen every day alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedsim.fleet.who import Bools, Floats
from fedsim.options import DurationOrZero, Options, option
from fedsim.units import DAY_S, HOUR_S

TIME_OF_DAY = "a time of day below 24h, such as 7h"


@dataclass(frozen=True)
class Hours(Options):
    """The part of the local day [opens, closes), which may run over midnight (20h to 30h)."""

    opens: DurationOrZero = option(0.0, "when they begin, after local midnight", lt=DAY_S, right=TIME_OF_DAY)
    closes: DurationOrZero = option(DAY_S, "when they end, after the same midnight")

    def __post_init__(self) -> None:
        if not 0.0 < self.closes - self.opens <= DAY_S:
            raise ValueError(f"{self.opens:g} s to {self.closes:g} s after midnight are no hours of a day")
        if self.opens != int(self.opens) or self.closes != int(self.closes):
            raise ValueError("hours of the day must be whole seconds")


ALL_DAY = Hours()
NIGHT = Hours(22 * HOUR_S, 30 * HOUR_S)


def within(from_s: float | Floats, until_s: float | Floats, utc_offset_s: Floats, time_s: Floats) -> Bools:
    """Whether each instant lies in those hours of its client's day."""
    shifted = time_s + (utc_offset_s - from_s)
    since = shifted - np.floor(shifted / DAY_S) * DAY_S  # np.mod is several times slower
    return np.asarray(since < until_s - from_s)


def next_within(
    from_s: float | Floats, until_s: float | Floats, utc_offset_s: Floats, time_s: Floats
) -> Floats:
    """Each instant that lies in those hours, else the next at which they begin."""
    shift = utc_offset_s - from_s
    begin = np.ceil((time_s + shift) / DAY_S) * DAY_S - shift
    inside = within(from_s, until_s, utc_offset_s, time_s)
    return np.where(inside, time_s, np.maximum(begin, time_s))


def next_edge(
    from_s: float | Floats, until_s: float | Floats, utc_offset_s: Floats, time_s: Floats
) -> Floats:
    """The next instant at which those hours begin, or, where they hold now, end; later than now."""
    shift = utc_offset_s - from_s
    begun = np.floor((time_s + shift) / DAY_S) * DAY_S - shift
    inside = within(from_s, until_s, utc_offset_s, time_s)
    edge = np.where(inside, begun + (until_s - from_s), begun + DAY_S)
    return np.maximum(edge, np.nextafter(time_s, np.inf))
