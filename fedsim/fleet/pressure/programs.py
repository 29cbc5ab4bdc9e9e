"""Programs: a level that is always there, and the hungriest of what else runs at the moment.

What runs is either a matter of the hour (the owner is awake, or at work) or a burst: a program
opened at random, used for a while and closed. A client holds

    scale * (base + the largest of the programs that run now),

``scale`` being the client's own log-normal factor. It is the largest and not the sum because the
program in front makes the system push the others out of memory.

A burst's program is opened once in every stretch of ``every_s``, at a moment uniform in it, unless
that moment lies outside the owner's hours; it runs exponentially long, at most to the end of the
stretch. Both are hashes of (client, stretch), and clients' stretches begin at moments of their own.
So any instant can be asked about at the cost of one hash, and a limit can be passed only at the
start of the span asked about, where a program's hours begin, or where a burst does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fedsim import rng
from fedsim.fleet.hours import ALL_DAY, Hours, next_within, within
from fedsim.fleet.pressure.base import Pressure
from fedsim.fleet.pressure.constant import Constant
from fedsim.fleet.who import Bools, Floats, Ints, Who
from fedsim.options import Duration, Options, SizeOrZero, kind, option
from fedsim.units import DAY_S


@dataclass(frozen=True)
class Routine(Options):
    """A program that runs at the same hours of every day."""

    holds: SizeOrZero = option(description="what it holds while it runs")
    hours: Hours = option(ALL_DAY, "when it runs, in local time")


@dataclass(frozen=True)
class Burst(Options):
    """A program that is opened at random."""

    holds: SizeOrZero = option(description="what it holds while it runs")
    every: Duration = option(
        description="it is opened once in every stretch of so long", ge=1, le=864e6, right="1s to 10000d"
    )
    lasts: Duration = option(description="mean time it runs, but for what the end of the stretch cuts off")
    hours: Hours = option(ALL_DAY, "when it can be opened; an opening outside does not take place")

    def __post_init__(self) -> None:
        if self.lasts > self.every:
            raise ValueError("a burst lasts at most as long, on average, as the stretch it is opened in")


@dataclass(frozen=True)
class Programs(Pressure):
    """What a client's owner runs: one file in ``hardware/pressure``, or written out in a scenario."""

    base: SizeOrZero = option(description="held always")
    routine: tuple[Routine, ...] = option((), "programs that run at the same hours of every day")
    bursts: tuple[Burst, ...] = option((), "programs opened at random", max_length=8)
    spread: float = option(0.0, "sigma of its lognormal spread between clients", ge=0, le=3)
    kind: Literal["programs"] = kind("programs")

    def load(self) -> Pressure:
        return self if self.routine or self.bursts or self.spread else Constant(self.base)

    @staticmethod
    def together(models: Sequence[Programs]) -> Callable[[Ints], Owners]:
        """Gives the programs of clients, row ``k`` with the figures of ``models[which[k]]``."""
        level = np.array([(m.base, m.spread) for m in models])
        routine = _table(
            [[(r.holds, r.hours.opens, r.hours.closes) for r in m.routine] for m in models], _NO_ROUTINE
        )
        bursts = _table(
            [[(b.holds, b.every, b.lasts, b.hours.opens, b.hours.closes) for b in m.bursts] for m in models],
            _NO_BURST,
        )
        figures = np.concatenate([level, *(x.reshape(len(models), -1) for x in (routine, bursts))], axis=1)

        def owners(which: Ints) -> Owners:
            row = figures.take(which, axis=0).T.copy()
            first = 2 + routine[0].size
            return Owners(
                row[0],
                row[1],
                row[2:first].reshape(*routine.shape[1:], which.size),
                row[first:].reshape(*bursts.shape[1:], which.size),
            )

        return owners


_MOST_BURSTS = 8
_NO_ROUTINE = (0.0, 0.0, DAY_S)
_NO_BURST = (0.0, 1e9, 1.0, 0.0, DAY_S)


def _table(rows: list[list[tuple[float, ...]]], none: tuple[float, ...]) -> Floats:
    """Figures of shape [models, figure, most rows]; models with fewer rows are filled up with ``none``."""
    most = max(len(row) for row in rows)
    full = [[*row, *[none] * (most - len(row))] for row in rows]
    return np.array(full, dtype=np.float64).reshape(len(rows), most, len(none)).swapaxes(1, 2)


@dataclass(frozen=True, eq=False)
class Owners:
    """Programs whose figures may differ from client to client; n is the number of clients, or 1.

    Attributes:
        base_bytes: float64[n].
        spread: float64[n].
        routine: float64[3, r, n]: bytes held, first and last hour in seconds.
        bursts: float64[5, b, n]: bytes held, stretch, mean length, first and last hour in seconds.
    """

    base_bytes: Floats
    spread: Floats
    routine: Floats
    bursts: Floats

    def bytes_at(self, who: Who, time_s: Floats) -> Floats:
        """What is held at each instant."""
        extra = np.zeros(time_s.size)
        for held, begin, end in self.routine.swapaxes(0, 1):
            now = within(begin, end, who.utc_offset_s, time_s)
            np.maximum(extra, held, out=extra, where=now)
        if self.bursts.shape[1]:
            bursts = self._bursts(who)
            runs = bursts.run(time_s, *bursts.opened(bursts.stretch(time_s)))
            extra = np.maximum(extra, np.where(runs, self.bursts[0], 0.0).max(axis=0))
        return np.exp(self.spread * who.appetite) * (self.base_bytes + extra)

    def range_bytes(self, who: Who) -> tuple[Floats, Floats]:
        """The base, and what is held when the hungriest program runs."""
        programs = np.concatenate([np.zeros_like(self.base_bytes)[None], self.routine[0], self.bursts[0]])
        scale = np.exp(self.spread * who.appetite)
        return scale * self.base_bytes, scale * (self.base_bytes + programs.max(axis=0))

    def first_exceeds_s(self, who: Who, limit_bytes: Floats, start_s: Floats, end_s: Floats) -> Floats:
        """The first instant at which the base or a program alone takes it over the limit."""
        scale = np.exp(self.spread * who.appetite)
        spans = start_s < end_s
        first = np.where((scale * self.base_bytes > limit_bytes) & spans, start_s, np.inf)
        for held, begin, end in self.routine.swapaxes(0, 1):
            over = (scale * (self.base_bytes + held) > limit_bytes) & spans
            opens = next_within(begin, end, who.utc_offset_s, start_s)
            np.minimum(first, opens, out=first, where=over)
        if self.bursts.shape[1]:
            over = (scale * (self.base_bytes + self.bursts[0]) > limit_bytes) & (spans & (first > start_s))
            rows = np.flatnonzero(over.any(axis=0))
            if rows.size:
                some = self._take(rows)._bursts(who.take(rows))
                runs = some.run_from_s(start_s[rows], end_s[rows], over[:, rows])
                first[rows] = np.minimum(first[rows], runs)
        return np.where(first < end_s, first, np.inf)

    def _take(self, rows: NDArray[np.intp]) -> Owners:
        if self.base_bytes.size == 1:
            return self
        return Owners(
            self.base_bytes[rows], self.spread[rows], self.routine[..., rows], self.bursts[..., rows]
        )

    def _bursts(self, who: Who) -> _Bursts:
        state = rng.states(rng.key(who.seed, "pressure", "bursts"), who.index)
        shape = (self.bursts.shape[1], who.index.size)
        _, every, lasts, begin, end = self.bursts
        number = np.arange(shape[0])[:, None]
        phase = (state >> np.uint64(12)).astype(np.float64) * 2.0**-52 * every
        return _Bursts(state, number, every, lasts, begin, end, phase, who.utc_offset_s)


@dataclass(frozen=True, eq=False)
class _Bursts:
    """Programs opened at random: b of each of n clients; float arrays of shape [b, n] or [b, 1]."""

    state: NDArray[np.uint64]  # of each client
    number: Ints  # [b, 1]
    every_s: Floats
    lasts_s: Floats
    from_s: Floats
    until_s: Floats
    phase_s: Floats  # by how much a client's stretches are early
    utc_offset_s: Floats  # of each client

    def stretch(self, time_s: Floats) -> Ints:
        """The stretch that holds each client's instant, int64[b, n]."""
        return np.floor((time_s + self.phase_s) / self.every_s).astype(np.int64)

    def opened(self, stretch: Ints) -> tuple[Floats, Floats, Bools]:
        """When each is opened in a stretch, when it would be closed, and whether that takes place."""
        draw = rng.draws(self.state, stretch * _MOST_BURSTS + self.number)
        place = (draw >> np.uint64(32)).astype(np.float64)
        place += 0.5
        place *= 2.0**-32
        rest = (draw & np.uint64(0xFFFFFFFF)).astype(np.float64)
        rest += 0.5
        rest *= 2.0**-32
        start = (stretch + place) * self.every_s - self.phase_s
        lasts = np.minimum(-self.lasts_s * np.log(rest), (1.0 - place) * self.every_s)
        return start, start + lasts, within(self.from_s, self.until_s, self.utc_offset_s, start)

    def run(self, time_s: Floats, opens_s: Floats, closes_s: Floats, good: Bools) -> Bools:
        """Whether each runs at its client's instant, given what happens in the stretch that holds it."""
        return np.asarray(good & (opens_s <= time_s) & (time_s < closes_s))

    def run_from_s(self, start_s: Floats, end_s: Floats, wanted: Bools) -> Floats:
        """The first instant in [start_s, end_s) at which any of a client's ``wanted`` bool[b, n] runs.

        After that instant, or infinite, if there is none.
        """
        stretch = self.stretch(start_s)
        opens, closes, good = self.opened(stretch)
        good &= wanted
        result = np.where(good & (opens > start_s), opens, np.inf)
        result[self.run(start_s, opens, closes, good)] = -np.inf
        # Whose program does not open any more in this stretch, or outside the hours, goes on.
        burst, client = np.nonzero(wanted & np.isinf(result) & (result > 0.0))
        last = np.maximum(opens[burst, client], start_s[client])
        stretch = stretch[burst, client]
        while burst.size:
            some = self._pairs(burst, client)
            hours = next_within(some.from_s, some.until_s, some.utc_offset_s, last)
            stretch = np.maximum(stretch + 1, some.stretch(hours))
            last, _, good = some.opened(stretch)
            result[burst[good], client[good]] = last[good]
            rest = np.flatnonzero(~good & (last < end_s[client]))
            burst, client, last, stretch = burst[rest], client[rest], last[rest], stretch[rest]
        first: Floats = result.min(axis=0)
        return np.maximum(first, start_s)

    def _pairs(self, burst: NDArray[np.intp], client: NDArray[np.intp]) -> _Bursts:
        """Some of them, as arrays of shape [m]."""
        figures = (self.every_s, self.lasts_s, self.from_s, self.until_s)
        every, lasts, begin, end = (x[burst, client if x.shape[1] > 1 else 0] for x in figures)
        phase = self.phase_s[burst, client]
        return _Bursts(self.state[client], burst, every, lasts, begin, end, phase, self.utc_offset_s[client])
