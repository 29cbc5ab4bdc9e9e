"""Intervals of a run's figures, from repeats of its time plane under drawn speeds.

``summary.json`` has an ``interval`` beside its figures: a mapping from the name of a figure to ``low``,
``high``, ``level`` and ``draws``. ``intervals.parquet`` has a row a round. Both are there only if draws
were made. A round that a draw never closes lies infinitely far away there, and a bound that does is null.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fedsim.files import json_ready
from fedsim.results.columns import schema

Floats = NDArray[np.float64]

FILE = "intervals.parquet"
_LARGEST = 1e24


@dataclass(frozen=True, eq=False)
class Intervals:
    """Low and high ends of a run's figures.

    Attributes:
        level: how likely a figure is to lie within.
        draws: how many repeats they come from.
        figures: (low, high) by name of a figure of ``summary.json``.
        devices: the same by device, for figures of ``summary.json``'s ``devices``.
        end_s, length_s: float64[2, rounds]: when each round ends, and how long it takes; low, then high.
    """

    level: float
    draws: int
    figures: Mapping[str, tuple[float, float]]
    devices: Mapping[str, Mapping[str, tuple[float, float]]]
    end_s: Floats
    length_s: Floats

    def _entry(self, low: float, high: float) -> dict[str, Any]:
        return {"low": float(low), "high": float(high), "level": self.level, "draws": self.draws}

    def _entries(
        self, found: Mapping[str, tuple[float, float]], figures: Mapping[str, Any]
    ) -> dict[str, Any]:
        return {name: self._entry(*ends) for name, ends in found.items() if figures.get(name) is not None}

    def beside(self, summary: dict[str, Any], ends_s: Floats) -> dict[str, Any]:
        """A summary with an ``interval`` beside its figures.

        Args:
            summary: of the run itself.
            ends_s: float64[rounds], when its rounds ended; at a metric's time its round ended.
        """
        found = {**summary, "interval": self._entries(self.figures, summary)}
        found["devices"] = {
            name: {**entry, "interval": self._entries(self.devices.get(name, {}), entry)}
            for name, entry in summary["devices"].items()
        }
        found["metrics"] = {
            split: {name: self._with_times(entry, ends_s) for name, entry in metrics.items()}
            for split, metrics in summary["metrics"].items()
        }
        ready = json_ready(found)
        assert isinstance(ready, dict)
        return ready

    def _with_times(self, entry: dict[str, Any], ends_s: Floats) -> dict[str, Any]:
        times: dict[str, tuple[float, float]] = {}
        for key in ("first_s", "last_s", "best_s"):
            place = int(np.searchsorted(ends_s, entry[key]))
            if place < ends_s.size and ends_s[place] == entry[key]:
                times[key] = (self.end_s[0, place], self.end_s[1, place])
        return {**entry, "interval": self._entries(times, entry)} if times else entry

    def rows(self) -> Iterator[pa.RecordBatch]:
        """The rows of ``intervals.parquet``."""
        shape = schema("intervals")
        columns = [np.arange(self.end_s.shape[1]), *self.end_s, *self.length_s]
        arrays = [
            pa.array(c, mask=~np.isfinite(c) if field.nullable else None)
            for c, field in zip(columns, shape, strict=True)
        ]
        yield pa.RecordBatch.from_arrays(arrays, schema=shape)


@dataclass(frozen=True)
class Interval:
    """What a summary says of one figure.

    Attributes:
        low, high: its ends; infinite if it is never reached.
        level: how likely the figure is to lie between them, as a share.
        draws: from how many repeats they come; 0 where they are known without any.
    """

    low: float
    high: float
    level: float
    draws: int


def interval_of(figures: Any, name: str) -> Interval | None:
    """The interval of a figure, from the mapping that holds both; None if there is none that can be."""
    said = figures.get("interval") if isinstance(figures, dict) else None
    said = said.get(name) if isinstance(said, dict) else None
    if not isinstance(said, dict) or not {"low", "high", "level"} <= set(said):
        return None
    low, high = (math.inf if said[key] is None else said[key] for key in ("low", "high"))
    level, draws = said["level"], said.get("draws", 0)
    if any(type(value) not in (int, float) for value in (low, high, level)) or type(draws) is not int:
        return None
    if not (-_LARGEST < low <= high and (high < _LARGEST or high == math.inf) and 0 < level < 1):
        return None
    if "draws" in said and draws < 1:
        return None
    return Interval(float(low), float(high), float(level), draws)


def carried_over(stored: Any, summary: dict[str, Any]) -> dict[str, Any]:
    """A summary computed anew, with the intervals that the stored one has and that can be.

    A table says nothing of speeds that were drawn; the stored summary may have been written by anybody.
    """

    def beside(old: Any, figures: dict[str, Any]) -> dict[str, Any]:
        kept = {}
        for name in figures:
            if (found := interval_of(old, name)) is not None and found.draws:
                kept[name] = {k: v if math.isfinite(v) else None for k, v in vars(found).items()}
        return {**figures, "interval": kept} if kept else figures

    def inside(old: Any, key: str) -> Any:
        return old.get(key) if isinstance(old, dict) else None

    found = beside(stored, summary)
    found["devices"] = {
        name: beside(inside(inside(stored, "devices"), name), entry)
        for name, entry in summary["devices"].items()
    }
    found["metrics"] = {
        split: {
            name: beside(inside(inside(inside(stored, "metrics"), split), name), entry)
            for name, entry in metrics.items()
        }
        for split, metrics in summary["metrics"].items()
    }
    return found
