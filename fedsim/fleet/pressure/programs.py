"""Programs: a level that is always there, and the hungriest of what else runs at the moment.

What runs is either a matter of the hour (the owner is awake, or at work) or a burst: a program
opened at random, used for a while and closed. A client holds

    scale * (base + the largest of the programs that run now),

``scale`` being the client's own log-normal factor. It is the largest and not the sum because the
program in front makes the system push the others out of memory.

A burst's program is opened once in every stretch of ``every_s``, at a moment uniform in it, unless
that moment lies outside the owner's hours; it runs exponentially long, at most one stretch. Both
are hashes of (client, stretch). So any instant can be asked about at the cost of two hashes, and a
limit can be passed only at the start of the span asked about, where a program's hours begin, or
where a burst does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedsim import rng
from fedsim.errors import ScenarioError
from fedsim.fleet.who import Bools, Floats, Ints, Who
from fedsim.units import DAY_S


@dataclass(frozen=True)
class Hours:
    """The part of the local day [from_s, until_s), which may run over midnight (20 h to 30 h)."""

    from_s: float = 0.0
    until_s: float = DAY_S

    def __post_init__(self) -> None:
        if not (0.0 <= self.from_s < DAY_S and 0.0 < self.until_s - self.from_s <= DAY_S):
            raise ScenarioError(f"{self.from_s} s to {self.until_s} s after midnight are no hours of a day")
        if self.from_s != int(self.from_s) or self.until_s != int(self.until_s):
            raise ScenarioError("hours of the day must be whole seconds")

    def hold(self, who: Who, time_s: Floats) -> Bools:
        """Whether each instant lies in them."""
        since = np.mod(time_s + (who.utc_offset_s - self.from_s), DAY_S)
        return np.asarray(since < self.until_s - self.from_s)

    def next_s(self, who: Who, time_s: Floats) -> Floats:
        """Each instant that lies in them, else the next at which they begin."""
        shift = who.utc_offset_s - self.from_s
        begin = np.ceil((time_s + shift) / DAY_S) * DAY_S - shift
        return np.where(self.hold(who, time_s), time_s, np.maximum(begin, time_s))


@dataclass(frozen=True)
class Burst:
    """A program that is opened at random.

    Attributes:
        held_bytes: what it holds while it runs.
        every_s: it is opened once in every stretch of so long.
        lasts_s: mean time it runs, before the longest are cut to one stretch.
        hours: when it can be opened; an opening outside them does not take place.
    """

    held_bytes: float
    every_s: float
    lasts_s: float
    hours: Hours = Hours()

    def __post_init__(self) -> None:
        if not (1.0 <= self.every_s <= 1e9 and 0.0 < self.lasts_s <= self.every_s):
            raise ScenarioError(
                "a burst needs a stretch from 1s to 10000d, and lasts at most as long on average"
            )

    def _opened(self, state: NDArray[np.uint64], stretch: Ints) -> tuple[Floats, Floats]:
        """When it is opened in a stretch, and for how long it would run."""
        draw = rng.draws(state, stretch)
        place = ((draw >> np.uint64(32)).astype(np.float64) + 0.5) * 2.0**-32
        rest = ((draw & np.uint64(0xFFFFFFFF)).astype(np.float64) + 0.5) * 2.0**-32
        return (stretch + place) * self.every_s, np.minimum(-self.lasts_s * np.log(rest), self.every_s)

    def runs(self, who: Who, time_s: Floats, stream: int) -> Bools:
        """Whether it runs at each instant."""
        state = rng.states(stream, who.index)
        stretch = np.floor(time_s / self.every_s).astype(np.int64)
        start, lasts = self._opened(state, stretch + np.array([[0], [-1]]))
        running = (start <= time_s) & (time_s < start + lasts)
        running &= self.hours.hold(who, start)
        return np.asarray(running[0] | running[1])

    def next_s(self, who: Who, time_s: Floats, stream: int) -> Floats:
        """When it is next opened after each instant (which must be finite)."""
        result = np.full(time_s.size, np.inf)
        todo, state = np.arange(time_s.size), rng.states(stream, who.index)
        stretch = np.floor(time_s / self.every_s).astype(np.int64)
        while todo.size:
            start, _ = self._opened(state, stretch)
            good = (start > time_s) & self.hours.hold(who, start)
            result[todo[good]] = start[good]
            rest = np.flatnonzero(~good)
            todo, state, who, time_s, start = (
                todo[rest],
                state[rest],
                who.take(rest),
                time_s[rest],
                start[rest],
            )
            begin = np.floor(self.hours.next_s(who, np.maximum(start, time_s)) / self.every_s)
            stretch = np.maximum(stretch[rest] + 1, begin.astype(np.int64))
        return result


@dataclass(frozen=True)
class Programs:
    """What a client's owner runs.

    Attributes:
        base_bytes: held always.
        routine: (bytes, hours): held during those hours of the day.
        bursts: programs opened at random.
        spread: sigma of the log-normal factor by which clients' figures differ; median 1.
    """

    base_bytes: float
    routine: tuple[tuple[float, Hours], ...] = ()
    bursts: tuple[Burst, ...] = ()
    spread: float = 0.0

    def _scale(self, who: Who) -> Floats:
        stream = rng.key(who.seed, "pressure", "scale")
        return np.asarray(np.exp(self.spread * rng.normals(stream, who.index)))

    def _stream(self, who: Who, nth: int) -> int:
        return rng.key(who.seed, "pressure", "burst", nth)

    def bytes_at(self, who: Who, time_s: Floats) -> Floats:
        """What is held at each instant."""
        extra = np.zeros(time_s.size)
        for held, hours in self.routine:
            extra = np.where(hours.hold(who, time_s), np.maximum(extra, held), extra)
        for nth, burst in enumerate(self.bursts):
            todo = np.flatnonzero(extra < burst.held_bytes)
            if todo.size:
                runs = burst.runs(who.take(todo), time_s[todo], self._stream(who, nth))
                extra[todo[runs]] = burst.held_bytes
        return self._scale(who) * (self.base_bytes + extra)

    def first_exceeds_s(self, who: Who, limit_bytes: Floats, start_s: Floats, end_s: Floats) -> Floats:
        """The first instant at which the base or a program alone takes it over the limit."""
        scale = self._scale(who)
        over_base = scale * self.base_bytes > limit_bytes
        first = np.where(over_base & (start_s < end_s), start_s, np.inf)
        for held, hours in self.routine:
            todo = self._open(scale * (self.base_bytes + held) > limit_bytes, first, start_s, end_s)
            if todo.size:
                first[todo] = np.minimum(first[todo], hours.next_s(who.take(todo), start_s[todo]))
        for nth, burst in enumerate(self.bursts):
            stream = self._stream(who, nth)
            todo = self._open(
                scale * (self.base_bytes + burst.held_bytes) > limit_bytes, first, start_s, end_s
            )
            if not todo.size:
                continue
            runs = burst.runs(who.take(todo), start_s[todo], stream)
            first[todo[runs]] = start_s[todo[runs]]
            todo = todo[~runs]
            first[todo] = np.minimum(first[todo], burst.next_s(who.take(todo), start_s[todo], stream))
        return np.where(first < end_s, first, np.inf)

    @staticmethod
    def _open(over: Bools, first: Floats, start_s: Floats, end_s: Floats) -> NDArray[np.intp]:
        """Rows that a program could take over the limit, and that are not over it from the start."""
        return np.flatnonzero(over & (start_s < end_s) & (first > start_s))
