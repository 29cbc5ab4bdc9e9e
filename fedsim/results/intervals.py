"""Intervals of a run's figures, from repeats of its time plane under drawn speeds.

``summary.json`` has an ``interval`` beside its figures: a mapping from the name of a figure to ``low``,
``high``, ``level`` and ``draws``. ``intervals.parquet`` has a row a round. Both are there only if draws
were made. A round that a draw never closes lies infinitely far away there, and a bound that does is null.
"""

from __future__ import annotations

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
