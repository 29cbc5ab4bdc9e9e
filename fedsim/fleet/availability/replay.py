"""Replay: online in the spans of a trace file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedsim.errors import ScenarioError
from fedsim.fleet import spans
from fedsim.fleet.spans import Spans
from fedsim.fleet.who import Bools, Floats, Who, on_grid


@dataclass(frozen=True)
class Replay:
    """What was recorded, once or again and again.

    Attributes:
        spans: when each client of the trace was online.
        period_s: the trace repeats after so long; None if it does not. What it holds beyond is cut off.
    """

    spans: Spans
    period_s: float | None = None

    def __post_init__(self) -> None:
        if self.period_s is None:
            return
        if not (1.0 <= self.period_s <= 1e12 and float(on_grid(np.array(self.period_s))) == self.period_s):
            raise ScenarioError(f"{self.period_s} s is no period; give a whole number of seconds from 1 on")
        if float(self.spans.start_s.min()) >= self.period_s:
            raise ScenarioError("is empty before its period ends", file=self.spans.file)

    @staticmethod
    def load(name_or_path: str, period_s: float | None = None) -> Replay:
        """Read a trace file with columns ``client, start_s, end_s``; see :func:`fedsim.fleet.spans.load`."""
        return Replay(spans.load(name_or_path, with_bytes=False), period_s)

    def _lap(self, time_s: Floats) -> tuple[Floats, Floats]:
        """Start of the lap of the trace that holds each instant, and the instant within it."""
        if self.period_s is None:
            return np.zeros(time_s.size), time_s
        within = np.mod(time_s, self.period_s)  # exact for floats
        return time_s - within, within

    def _until(self, who: Who, time_s: Floats) -> Floats:
        """End, within the same lap, of the span that holds each instant; ``-inf`` if none does."""
        begin, within = self._lap(time_s)
        at = self.spans.upto(who.index, within)
        first, _ = self.spans.ranges(who.index)
        end = np.where(at >= first, self.spans.end_s[np.maximum(at, 0)], -np.inf)
        if self.period_s is not None:
            end = np.minimum(end, self.period_s)
        return np.where(within < end, begin + end, -np.inf)

    def online(self, who: Who, time_s: Floats) -> Bools:
        """Whether a span holds the instant."""
        return np.asarray(self._until(who, time_s) > time_s)

    def offline_from_s(self, who: Who, time_s: Floats) -> Floats:
        """The end of the span, or now; a span that goes over into the next lap goes on there."""
        end = np.maximum(self._until(who, time_s), time_s)
        if self.period_s is None:
            return end
        edge = (end > time_s) & (np.mod(end, self.period_s) == 0.0)
        further = np.where(edge, np.maximum(self._until(who, end), end), end)
        whole = edge & (further - end >= self.period_s)  # online for a whole lap: for ever
        return np.where(whole, np.inf, further)

    def online_from_s(self, who: Who, time_s: Floats) -> Floats:
        """Now, or the start of the next span."""
        begin, within = self._lap(time_s)
        following = self.spans.upto(who.index, within) + 1
        first, last = self.spans.ranges(who.index)
        limit = np.inf if self.period_s is None else self.period_s
        start = np.where(following < last, self.spans.start_s[np.minimum(following, last - 1)], np.inf)
        again = np.where(self.spans.start_s[first] < limit, self.spans.start_s[first] + limit, np.inf)
        start = begin + np.where(start < limit, start, again)
        return np.where(self.online(who, time_s), time_s, start)
