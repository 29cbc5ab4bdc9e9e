"""The runs of a comparison, each with a label of its own, and their curves on the simulated clock.

A curve is a metric over time. Besides what was evaluated, every run has two: ``rounds``, the rounds
closed so far, and ``updates``, the client-rounds completed so far.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedsim.errors import RunError
from fedsim.outcomes import OUTCOMES
from fedsim.report.digest import Series, intervals_of, rounds_of, series_of
from fedsim.report.text import name
from fedsim.results.intervals import Interval, interval_of
from fedsim.results.reading import Run, load

#: Most runs that eight colours and two kinds of line tell apart.
MOST_RUNS = 16
SPLITS = ("validation", "test", "train")


@dataclass(frozen=True)
class Entry:
    """One run of a comparison.

    Attributes:
        label: the end of its path that no other run of the comparison has.
        run: the run directory.
        rounds: the columns of ``rounds.parquet``, each of shape [rounds].
        curves: by name: ``rounds``, ``updates``, or split and metric such as ``validation.loss``.
        intervals: the columns of ``intervals.parquet``, likewise; None if no speeds were drawn.
    """

    label: str
    run: Run
    rounds: dict[str, NDArray[np.float64]]
    curves: dict[str, Series]
    intervals: dict[str, NDArray[np.float64]] | None = None

    def closes(self, index: int) -> Interval | None:
        """Between which times a round closes; None if no speeds were drawn, or before the first."""
        whole = interval_of(self.run.summary, "end_s")
        if self.intervals is None or whole is None or index < 0:
            return None
        at = int(np.searchsorted(self.rounds["round"], index))
        ends = [float(self.intervals[name][at]) for name in ("end_low_s", "end_high_s")]
        low, high = (end if np.isfinite(end) else np.inf for end in ends)
        return replace(whole, low=low, high=high)

    @property
    def end_s(self) -> float:
        """When the last round closed."""
        return float(self.rounds["end_s"][-1])

    def total(self, column: str) -> float:
        """The sum of a column over all rounds."""
        return float(self.rounds[column].sum())

    def until(self, column: str, index: int) -> float:
        """The sum of a column over all rounds up to and including that one; -1 is before the first."""
        return float(self.rounds[column][self.rounds["round"] <= index].sum())

    @property
    def client_rounds(self) -> int:
        """How many clients were dispatched, over all rounds."""
        return int(sum(self.total(word) for word in OUTCOMES))


def gather(paths: Sequence[str | Path]) -> list[Entry]:
    """Open the runs of a comparison.

    Raises:
        RunError: fewer than two runs, too many, one given twice, unfinished, damaged or without rounds.
    """
    if len(paths) < 2:
        raise RunError("one run is no comparison; give at least two run directories")
    if len(paths) > MOST_RUNS:
        raise RunError(f"{len(paths)} runs are too many to tell apart; give at most {MOST_RUNS}")
    places = [Path(path).resolve() for path in paths]
    for place, times in Counter(places).items():
        if times > 1:
            raise RunError("is given twice; give each run once", file=paths[places.index(place)])
    return [_entry(label, load(path)) for label, path in zip(labels(places), map(Path, paths), strict=True)]


def labels(places: Sequence[Path]) -> list[str]:
    """For each of some different paths the shortest end that none of the others has, on one line."""
    longest = max(len(place.parts) for place in places)
    for deep in range(1, longest + 1):
        found = [name("/".join(place.parts[-deep:]), 60) for place in places]
        if len(set(found)) == len(found):
            return found
    return [f"{at + 1}: {name(place.name, 50)}" for at, place in enumerate(places)]


def _entry(label: str, run: Run) -> Entry:
    if not run.finished:
        raise RunError(f"is not finished; go on with it: fedsim run --resume {run.path}", file=run.path)
    rounds = rounds_of(run)
    if not rounds["round"].size:
        raise RunError("closed no round, so there is nothing to compare", file=run.path)
    index, end_s = rounds["round"].astype(np.int64), rounds["end_s"]
    counted = {"rounds": np.arange(1.0, index.size + 1), "updates": np.cumsum(rounds["completed"])}
    curves = {key: Series(index, end_s, value.astype(float)) for key, value in counted.items()}
    curves |= {f"{split}.{metric}": series for (split, metric), series in series_of(run).items()}
    return Entry(label, run, rounds, curves, intervals_of(run, rounds))


def best_split(entries: Sequence[Entry], metric: str) -> str | None:
    """The curve of a metric that most runs have: of validation, test and train the first of those."""
    having = {split: sum(f"{split}.{metric}" in entry.curves for entry in entries) for split in SPLITS}
    split = max(SPLITS, key=lambda one: having[one])
    return f"{split}.{metric}" if having[split] else None
