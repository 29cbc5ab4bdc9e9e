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

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fedsim import rng
from fedsim.errors import ScenarioError
from fedsim.fleet.hours import ALL_DAY, Hours, next_within, within
from fedsim.fleet.who import Bools, Floats, Ints, Who
from fedsim.units import DAY_S


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
    hours: Hours = ALL_DAY

    def __post_init__(self) -> None:
        if not (1.0 <= self.every_s <= 1e9 and 0.0 < self.lasts_s <= self.every_s):
            raise ScenarioError(
                "a burst needs a stretch from 1s to 10000d, and lasts at most as long on average"
            )


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

    @staticmethod
    def merged(models: Sequence[Programs], which: Ints) -> Owners:
        """The programs of clients, row ``k`` with the figures of ``models[which[k]]``."""
        level = np.array([(m.base_bytes, m.spread) for m in models]).T
        routine = _table(
            [[(held, h.from_s, h.until_s) for held, h in m.routine] for m in models], _NO_ROUTINE
        )
        bursts = _table(
            [
                [(b.held_bytes, b.every_s, b.lasts_s, b.hours.from_s, b.hours.until_s) for b in m.bursts]
                for m in models
            ],
            _NO_BURST,
        )
        return Owners(level[0, which], level[1, which], routine[..., which], bursts[..., which])

    def bytes_at(self, who: Who, time_s: Floats) -> Floats:
        """What is held at each instant."""
        return self._alone.bytes_at(who, time_s)

    def first_exceeds_s(self, who: Who, limit_bytes: Floats, start_s: Floats, end_s: Floats) -> Floats:
        """The first instant at which the base or a program alone takes it over the limit."""
        return self._alone.first_exceeds_s(who, limit_bytes, start_s, end_s)

    @cached_property
    def _alone(self) -> Owners:
        return self.merged([self], np.zeros(1, dtype=np.int64))


_NO_ROUTINE = (0.0, 0.0, DAY_S)
_NO_BURST = (0.0, 1e9, 1.0, 0.0, DAY_S)


def _table(rows: list[list[tuple[float, ...]]], none: tuple[float, ...]) -> Floats:
    """Figures of shape [figure, most rows, models]; models with fewer rows are filled up with ``none``."""
    most = max(len(row) for row in rows)
    full = [[*row, *[none] * (most - len(row))] for row in rows]
    return np.array(full, dtype=np.float64).reshape(len(rows), most, len(none)).T


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
        count = self.bursts.shape[1]
        if count:
            pairs = self._pairs(who, np.arange(count * time_s.size))
            runs = pairs.run(np.tile(time_s, count)).reshape(count, -1)
            extra = np.maximum(extra, np.where(runs, self.bursts[0], 0.0).max(axis=0))
        return np.exp(self.spread * who.appetite) * (self.base_bytes + extra)

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
            rows = np.flatnonzero(over)
            if rows.size:
                client = rows % start_s.size
                begins = np.full(over.shape, np.inf)
                begins.flat[rows] = self._pairs(who, rows).run_from_s(start_s[client], end_s[client])
                first = np.minimum(first, begins.min(axis=0))
        return np.where(first < end_s, first, np.inf)

    def _pairs(self, who: Who, rows: NDArray[np.intp]) -> _Pairs:
        """Bursts with clients: row ``k`` is burst ``k // n`` with client ``k % n``."""
        burst, client = rows // who.index.size, rows % who.index.size
        keys = [rng.key(who.seed, "pressure", "burst", nth) for nth in range(self.bursts.shape[1])]
        state = rng.states(np.array(keys, dtype=np.uint64)[burst], who.index[client])
        every, lasts, begin, end = self.bursts[1:, burst, client if self.base_bytes.size > 1 else 0]
        return _Pairs(state, every, lasts, begin, end, who.utc_offset_s[client])


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Programs opened at random by clients, one pair a row; all arrays of shape [m]."""

    state: NDArray[np.uint64]
    every_s: Floats
    lasts_s: Floats
    from_s: Floats
    until_s: Floats
    utc_offset_s: Floats

    def take(self, rows: NDArray[np.intp]) -> _Pairs:
        """Some of them."""
        return _Pairs(
            self.state[rows],
            self.every_s[rows],
            self.lasts_s[rows],
            self.from_s[rows],
            self.until_s[rows],
            self.utc_offset_s[rows],
        )

    def opened(self, stretch: Ints) -> tuple[Floats, Floats, Bools]:
        """When each is opened in a stretch, for how long it would run, and whether that takes place."""
        draw = rng.draws(self.state, stretch)
        start = (draw >> np.uint64(32)).astype(np.float64)
        start += 0.5
        start *= 2.0**-32
        start += stretch
        start *= self.every_s
        rest = ((draw & np.uint64(0xFFFFFFFF)).astype(np.float64) + 0.5) * 2.0**-32
        lasts = np.minimum(-self.lasts_s * np.log(rest), self.every_s)
        return start, lasts, within(self.from_s, self.until_s, self.utc_offset_s, start)

    def run(self, time_s: Floats) -> Bools:
        """Whether each runs at its instant: opened in this stretch or the one before, and not yet closed."""
        stretch = np.floor(time_s / self.every_s).astype(np.int64)
        start, lasts, good = self.opened(stretch + np.array([[0], [-1]]))
        good &= (start <= time_s) & (time_s < start + lasts)
        return np.asarray(good[0] | good[1])

    def run_from_s(self, start_s: Floats, end_s: Floats) -> Floats:
        """The first instant in [start_s, end_s) at which each runs; after that if there is none."""
        stretch = np.floor(start_s / self.every_s).astype(np.int64)
        opens, lasts, good = self.opened(stretch + np.array([[-1], [0], [1]]))
        ahead = good & (opens > start_s)
        runs = good & ~ahead & (start_s < opens + lasts)
        result: Floats = np.where(ahead, opens, np.inf).min(axis=0)
        result[runs[0] | runs[1]] = start_s[runs[0] | runs[1]]
        # Whose openings fell outside the hours goes on from the stretch in which the hours begin.
        todo = np.flatnonzero(np.isinf(result) & (opens[2] < end_s))
        last, stretch = opens[2, todo], stretch[todo] + 1
        while todo.size:
            some = self.take(todo)
            hours = next_within(some.from_s, some.until_s, some.utc_offset_s, last)
            stretch = np.maximum(stretch + 1, np.floor(hours / some.every_s).astype(np.int64))
            last, _, good = some.opened(stretch)
            result[todo[good]] = last[good]
            rest = np.flatnonzero(~good & (last < end_s[todo]))
            todo, last, stretch = todo[rest], last[rest], stretch[rest]
        return result
