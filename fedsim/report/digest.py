"""Everything that the figures, the page and the terminal show, gathered from a run directory once.

Two bounded passes over ``clients.parquet``, whatever its size: sums by device and client, and an
evenly thinned sample of memory figures. ``rounds.parquet`` and ``convergence.parquet``, a row or a
few for each round, are held whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim.errors import RunError, one_line
from fedsim.outcomes import OUTCOMES
from fedsim.report.closeup import Closeup, instructive_round
from fedsim.report.text import dig
from fedsim.results import parquet
from fedsim.results.codes import Codes
from fedsim.results.columns import FILES, TABLES
from fedsim.results.intervals import FILE, carried_over
from fedsim.results.reading import Run
from fedsim.results.summary import ClientSums, numbers, outcome_of, survey

#: Most points of the memory figure for one device.
SAMPLE = 1500
_LARGEST = 1e24
_LARGEST_BYTES = 1e18


@dataclass(frozen=True)
class Series:
    """One metric on one split over the run; arrays of shape [n], in order."""

    round: NDArray[np.int64]
    time_s: NDArray[np.float64]
    value: NDArray[np.float64]


@dataclass(frozen=True)
class Memory:
    """A sample of one device's client-rounds; arrays of shape [n].

    ``outcome`` holds positions in ``OUTCOMES``.
    """

    footprint_bytes: NDArray[np.float64]
    available_bytes: NDArray[np.float64]
    outcome: NDArray[np.int64]


@dataclass(frozen=True)
class Digest:
    """What there is to show.

    Attributes:
        run: the run directory.
        summary: the keys of ``summary.json``, computed anew from the tables.
        sums: sums by client.
        rounds: the columns of ``rounds.parquet``, each of shape [rounds].
        series: convergence by (split, metric).
        memory: samples by device.
        closeup: the round worth a closer look, if there is one.
        intervals: the columns of ``intervals.parquet``, likewise; None if no speeds were drawn. NaN
            where a bound is never reached.
    """

    run: Run
    summary: dict[str, Any]
    sums: ClientSums
    rounds: dict[str, NDArray[Any]]
    series: dict[tuple[str, str], Series]
    memory: dict[str, Memory]
    closeup: Closeup | None
    intervals: dict[str, NDArray[Any]] | None = None

    @property
    def name(self) -> str:
        """The scenario's name, else the directory's."""
        for tree in (self.run.scenario, self.run.manifest):
            value = dig(tree, "name")
            if isinstance(value, str) and value:
                return value
        return self.run.path.name

    @property
    def devices(self) -> list[str]:
        """Device names, those with most client-rounds first."""
        table = self.summary["devices"]
        return sorted(table, key=lambda device: (-table[device]["client_rounds"], device))


def digest(run: Run) -> Digest:
    """Gather what there is to show.

    Raises:
        RunError: if a table is missing or damaged.
    """
    ended = run.summary.get("ended") if run.finished else "not finished yet"
    summary, sums = survey(run, one_line(ended) if isinstance(ended, str) else "")
    rounds = rounds_of(run)
    if run.finished:
        summary = carried_over(run.summary, summary)
    seen = instructive_round(run, rounds)
    return Digest(run, summary, sums, rounds, series_of(run), _memory(run), seen, intervals_of(run, rounds))


def intervals_of(run: Run, rounds: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]] | None:
    """The columns of ``intervals.parquet``, if there is one.

    Raises:
        RunError: if it is damaged, or holds other rounds than the run.
    """
    file = run.path / FILE
    if not (run.finished and file.is_file()):
        return None
    names = [column.name for column in FILES["intervals"]]
    batches = list(parquet.read(file, "intervals", names))
    found = {n: np.concatenate([numbers(b, n) for b in batches]) if batches else np.zeros(0) for n in names}
    if not np.array_equal(found["round"], rounds["round"]):
        raise RunError("holds intervals of other rounds than the run", file=file)
    ends = np.array([found[name] for name in names[1:]])
    if np.any(np.abs(ends[np.isfinite(ends)]) > _LARGEST):
        raise RunError("holds a value that is no time", file=file)
    return found


def rounds_of(run: Run) -> dict[str, NDArray[Any]]:
    """The columns of ``rounds.parquet``, each of shape [rounds].

    Raises:
        RunError: if the table is missing or damaged, or says what cannot be.
    """
    batches = list(run.batches("rounds"))
    columns = {
        c.name: np.concatenate([numbers(b, c.name) for b in batches]) if batches else np.zeros(0)
        for c in TABLES["rounds"]
    }
    if np.any(columns["end_s"] < columns["start_s"]):
        raise RunError("holds a round that ends before it starts", file=run.path)
    if any(np.any(columns[word] < 0) for word in ("selected", *OUTCOMES)):
        raise RunError("holds a round with a negative count", file=run.path)
    return columns


def series_of(run: Run) -> dict[tuple[str, str], Series]:
    """Convergence by (split, metric); values that are no quantity are left out.

    Raises:
        RunError: if the table is missing or damaged.
    """
    rows: dict[tuple[str, str], list[tuple[int, float, float]]] = {}
    for batch in run.batches("convergence"):
        for row in batch.to_pylist():
            if abs(row["value"]) < _LARGEST and abs(row["time_s"]) < _LARGEST:
                rows.setdefault((row["split"], row["metric"]), []).append(
                    (row["round"], row["time_s"], row["value"])
                )
    found = {}
    for key, values in rows.items():
        rounds, times, numbers_ = zip(*values, strict=True)
        found[key] = Series(np.asarray(rounds), np.asarray(times), np.asarray(numbers_))
    return found


class _Thinned:
    """Keeps every k-th row, doubling k whenever there are too many: an even sample of any stream."""

    def __init__(self) -> None:
        self.step, self.seen = 1, 0
        self.rows = np.zeros((0, 3))

    def add(self, rows: NDArray[np.float64]) -> None:
        first = -self.seen % self.step
        self.seen += len(rows)
        self.rows = np.concatenate([self.rows, rows[first :: self.step]])
        while len(self.rows) > SAMPLE:
            self.rows = self.rows[::2]
            self.step *= 2


def _memory(run: Run) -> dict[str, Memory]:
    codes = Codes()
    kept: dict[str, _Thinned] = {}
    for batch in run.batches("clients", ("device", "outcome", "footprint_bytes", "available_bytes")):
        device = codes.of(batch.column("device"))
        rows = np.column_stack(
            [
                numbers(batch, "footprint_bytes"),
                numbers(batch, "available_bytes"),
                outcome_of(batch.column("outcome"), run),
            ]
        )
        known = (np.abs(rows) < _LARGEST_BYTES).all(axis=1) & (rows[:, 0] >= 1)
        for place in np.unique(device[known]):
            kept.setdefault(codes.names[place], _Thinned()).add(rows[known & (device == place)])
    return {
        name: Memory(thin.rows[:, 0], thin.rows[:, 1], thin.rows[:, 2].astype(np.int64))
        for name, thin in sorted(kept.items())
    }


def share_of(digest: Digest, outcome: str) -> float | None:
    """Share of the client-rounds that ended with ``outcome``; None if there are none."""
    assert outcome in OUTCOMES
    total: int = digest.summary["client_rounds"]
    return digest.summary["outcomes"][outcome] / total if total else None
