"""Replay: the bytes recorded in a trace file; nothing is held between its spans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from fedsim.fleet.pressure.base import Pressure
from fedsim.fleet.spans import IDS, Clients, Recording, lap
from fedsim.fleet.who import Floats, Who
from fedsim.options import Duration, kind, option


@dataclass(frozen=True)
class Replay(Recording, Pressure):
    """As recorded."""

    with_bytes: ClassVar[bool] = True

    file: str = option(description="CSV or Parquet with client, start_s, end_s, bytes")
    period: Duration | None = option(None, "it repeats after so long; none: it does not")
    clients: Clients = option("by-number", IDS)
    kind: Literal["trace"] = kind("trace")

    def bytes_at(self, who: Who, time_s: Floats) -> Floats:
        """What the span that holds each instant says; 0 if none does."""
        _, within = lap(time_s, self.period)
        at = self.spans.upto(who.index, within)
        first, _ = self.spans.ranges(who.index)
        there = (at >= first) & (within < self.spans.end_s[np.maximum(at, 0)])
        return np.where(there, self.spans.value[np.maximum(at, 0)], 0.0)

    def range_bytes(self, who: Who) -> tuple[Floats, Floats]:
        """Nothing, and the most in any span of the client's."""
        return np.zeros(who.index.size), self.spans.most(who.index)

    def first_exceeds_s(self, who: Who, limit_bytes: Floats, start_s: Floats, end_s: Floats) -> Floats:
        """The start, or where the next span above the limit begins; one lap is looked through at most."""
        result = np.full(start_s.size, np.inf)
        open_ = start_s < end_s
        now = open_ & (self.bytes_at(who, start_s) > limit_bytes)
        result[now] = start_s[now]
        todo = np.flatnonzero(open_ & ~now)
        begin, within = lap(start_s, self.period)
        at = self.spans.upto(who.index, within) + 1
        first, last = self.spans.ranges(who.index)
        limit = np.inf if self.period is None else self.period
        for again in (0, 1) if self.period is not None else (0,):
            rows, place = todo, (at if again == 0 else first)[todo]
            offset = begin + again * limit if again else begin
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
