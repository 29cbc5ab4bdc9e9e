"""Replay: online in the spans of a trace file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from fedsim.fleet.availability.base import Availability
from fedsim.fleet.spans import IDS, Clients, Recording, lap
from fedsim.fleet.who import Floats, Who
from fedsim.options import Duration, kind, option


@dataclass(frozen=True)
class Replay(Recording, Availability):
    """As recorded."""

    file: str = option(description="CSV or Parquet with client, start_s, end_s")
    period: Duration | None = option(None, "it repeats after so long; none: it does not")
    clients: Clients = option("by-number", IDS)
    kind: Literal["trace"] = kind("trace")

    def _until(self, who: Who, time_s: Floats) -> Floats:
        """End, within the same lap, of the span that holds each instant; ``-inf`` if none does."""
        begin, within = lap(time_s, self.period)
        at = self.spans.upto(who.index, within)
        first, _ = self.spans.ranges(who.index)
        end = np.where(at >= first, self.spans.end_s[np.maximum(at, 0)], -np.inf)
        if self.period is not None:
            end = np.minimum(end, self.period)
        return np.where(within < end, begin + end, -np.inf)

    def offline_from_s(self, who: Who, time_s: Floats) -> Floats:
        """The end of the span, or now; a span that goes over into the next lap goes on there."""
        end = np.maximum(self._until(who, time_s), time_s)
        if self.period is None:
            return end
        edge = (end > time_s) & (np.mod(end, self.period) == 0.0)
        further = np.where(edge, np.maximum(self._until(who, end), end), end)
        whole = edge & (further - end >= self.period)  # online for a whole lap: for ever
        return np.where(whole, np.inf, further)

    def online_from_s(self, who: Who, time_s: Floats) -> Floats:
        """Now, or the start of the next span."""
        begin, within = lap(time_s, self.period)
        following = self.spans.upto(who.index, within) + 1
        first, last = self.spans.ranges(who.index)
        limit = np.inf if self.period is None else self.period
        start = np.where(following < last, self.spans.start_s[np.minimum(following, last - 1)], np.inf)
        comes_again = (first < last) & (self.spans.start_s[first] < limit)
        again = np.where(comes_again, self.spans.start_s[first] + limit, np.inf)
        start = begin + np.where(start < limit, start, again)
        return np.where(self._until(who, time_s) > time_s, time_s, start)
