"""Replay: the bytes recorded in a trace file; nothing is held between its spans."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedsim.errors import ScenarioError
from fedsim.fleet import spans
from fedsim.fleet.spans import Spans
from fedsim.fleet.who import Floats, Who, on_grid


@dataclass(frozen=True)
class Replay:
    """What was recorded, once or again and again.

    Attributes:
        spans: what each client of the trace held, and when.
        period_s: the trace repeats after so long; None if it does not. What it holds beyond is cut off.
    """

    spans: Spans
    period_s: float | None = None

    def __post_init__(self) -> None:
        if self.period_s is not None and not (
            1.0 <= self.period_s <= 1e12 and float(on_grid(np.array(self.period_s))) == self.period_s
        ):
            raise ScenarioError(f"{self.period_s} s is no period; give a whole number of seconds from 1 on")

    @staticmethod
    def load(name_or_path: str, period_s: float | None = None) -> Replay:
        """Read a trace with ``client, start_s, end_s, bytes``; see :func:`fedsim.fleet.spans.load`."""
        return Replay(spans.load(name_or_path, with_bytes=True), period_s)

    def _lap(self, time_s: Floats) -> tuple[Floats, Floats]:
        if self.period_s is None:
            return np.zeros(time_s.size), time_s
        within = np.mod(time_s, self.period_s)
        return time_s - within, within

    def bytes_at(self, who: Who, time_s: Floats) -> Floats:
        """What the span that holds each instant says; 0 if none does."""
        _, within = self._lap(time_s)
        at = self.spans.upto(who.index, within)
        first, _ = self.spans.ranges(who.index)
        there = (at >= first) & (within < self.spans.end_s[np.maximum(at, 0)])
        return np.where(there, self.spans.value[np.maximum(at, 0)], 0.0)

    def range_bytes(self, who: Who) -> tuple[Floats, Floats]:
        """Nothing, and the most in any span of the trace."""
        return np.zeros(who.index.size), np.full(who.index.size, self.spans.value.max())

    def first_exceeds_s(self, who: Who, limit_bytes: Floats, start_s: Floats, end_s: Floats) -> Floats:
        """The start, or where the next span above the limit begins; one lap is looked through at most."""
        result = np.full(start_s.size, np.inf)
        open_ = start_s < end_s
        now = open_ & (self.bytes_at(who, start_s) > limit_bytes)
        result[now] = start_s[now]
        todo = np.flatnonzero(open_ & ~now)
        begin, within = self._lap(start_s)
        at = self.spans.upto(who.index, within) + 1
        first, last = self.spans.ranges(who.index)
        limit = np.inf if self.period_s is None else self.period_s
        for lap in (0, 1) if self.period_s is not None else (0,):
            rows, place = todo, (at if lap == 0 else first)[todo]
            offset = begin + lap * limit if lap else begin
            while rows.size:
                inside = place < last[rows]
                rows, place = rows[inside], place[inside]
                start = self.spans.start_s[place]
                usable = (start < limit) & (offset[rows] + start < end_s[rows])
                rows, place, start = rows[usable], place[usable], start[usable]
                over = self.spans.value[place] > limit_bytes[rows]
                result[rows[over]] = np.minimum(result[rows[over]], offset[rows[over]] + start[over])
                rows, place = rows[~over], place[~over] + 1
        return result
