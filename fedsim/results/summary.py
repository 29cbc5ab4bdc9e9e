"""``summary.json``: a run in figures, computed from its tables in one bounded pass.

Everything here adds up with the Parquet files, because it is computed from them; only the size of
the fleet and the account of the corpus come from the manifest. The keys are defined in
:data:`fedsim.results.columns.SUMMARY`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fedsim.errors import RunError
from fedsim.files import json_ready
from fedsim.outcomes import OUTCOMES
from fedsim.results.codes import Codes, grown
from fedsim.results.coverage import ByWay, trains
from fedsim.results.metrics import better, definitions

_MAX_CLIENTS = 100_000_000
_LARGEST = 1e24
_PHASES = ("download_s", "startup_s", "compute_s", "upload_s")
_SUMS = (*_PHASES, "downloaded_bytes", "uploaded_bytes", "energy_j")
_COLUMNS = (
    "round", "client", "device", "technique", "outcome", "ended_s", "footprint_bytes", "available_bytes",
    "loss", *_SUMS,
)  # fmt: skip


class Tables(Protocol):
    """What a summary is made from: a :class:`fedsim.results.reading.Run`."""

    @property
    def path(self) -> Path:
        """The run directory, for messages."""

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What went in."""

    def batches(self, table: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows of a table in order, text columns as dictionaries."""


def outcome_of(column: pa.Array, run: Tables) -> NDArray[np.int64]:
    """Positions in ``OUTCOMES`` of a dictionary-encoded column.

    Raises:
        RunError: if a value is no outcome.
    """
    words = column.dictionary.to_pylist()
    for word in words:
        if word not in OUTCOMES:
            raise RunError(f"column 'outcome' holds {word!r}, which is no outcome", file=run.path)
    codes = [OUTCOMES.index(word) for word in words]
    return np.asarray(np.take(codes, column.indices.to_numpy(zero_copy_only=False)), dtype=np.int64)


def numbers(batch: pa.RecordBatch, name: str) -> NDArray[Any]:
    """A numeric column as a numpy array."""
    return np.asarray(batch.column(name).to_numpy(zero_copy_only=False))


def fleet_size(run: Tables) -> int | None:
    """How many clients the manifest says there are."""
    value = run.manifest.get("clients")
    return value if type(value) is int and 0 < value <= _MAX_CLIENTS else None


def gini(counts: NDArray[np.int64]) -> float:
    """Gini coefficient of non-negative counts: 0 if all are equal, towards 1 if one has all.

    NaN if there are no counts or all are zero.
    """
    total = int(counts.sum())
    if counts.size == 0 or total == 0:
        return math.nan
    ranked = np.sort(counts).astype(np.float64)
    ranks = np.arange(1, counts.size + 1, dtype=np.float64)
    return float(2.0 * (ranks @ ranked) / (counts.size * total) - (counts.size + 1) / counts.size)


class ClientSums:
    """Sums over ``clients.parquet`` by device and by client.

    Attributes:
        devices: positions of the device names.
        completed: rounds completed, shape [width]; places behind ``width`` are spare.
        dispatched: rounds dispatched, likewise.
        device_of: position of each client's device, -1 for a client never dispatched.
        width: clients in the fleet, or as many as were seen.
        not_finite: client-rounds that report a loss that is not finite.
        by_way: who trained in which way.
    """

    def __init__(self, run: Tables, rounds: NDArray[np.int64], ends: NDArray[np.float64]) -> None:
        self.run, self.rounds, self.ends = run, rounds, ends
        self.devices = Codes()
        self.table: dict[str, NDArray[np.float64]] = {}
        self.completed = np.zeros(fleet_size(run) or 0, dtype=np.int64)
        self.dispatched = np.zeros(self.completed.size, dtype=np.int64)
        self.device_of = np.full(self.completed.size, -1, dtype=np.int64)
        self.width = self.completed.size
        self.not_finite = 0
        self.by_way = ByWay(trains(run))

    def _add(self, key: str, device: NDArray[np.int64], values: NDArray[np.float64] | None = None) -> None:
        sums = np.bincount(device, weights=values, minlength=len(self.devices.names)).astype(np.float64)
        old = self.table.get(key, np.zeros(0))
        sums[: old.size] += old
        self.table[key] = sums

    def _extreme(self, key: str, device: NDArray[np.int64], values: NDArray[np.float64], sign: float) -> None:
        best = np.full(len(self.devices.names), -np.inf)
        old = self.table.get(key, np.zeros(0))
        best[: old.size] = sign * old
        known = np.isfinite(values)
        np.maximum.at(best, device[known], sign * values[known])
        self.table[key] = sign * best

    def add(self, batch: pa.RecordBatch) -> None:
        """Take in some rows."""
        device = self.devices.of(batch.column("device"))
        outcome = outcome_of(batch.column("outcome"), self.run)
        client = numbers(batch, "client")
        if client.min() < 0 or client.max() > _MAX_CLIENTS:
            raise RunError("column 'client' holds a number that is no client", file=self.run.path)
        done = outcome == OUTCOMES.index("completed")
        columns = {name: numbers(batch, name) for name in (*_SUMS, "ended_s")}
        for name, values in columns.items():
            if not np.all(np.abs(values) < _LARGEST):
                raise RunError(f"column {name!r} holds a value that is no quantity", file=self.run.path)
        self.not_finite += _not_finite(batch.column("loss"))
        self._add("client_rounds", device)
        for code, word in enumerate(OUTCOMES):
            self._add(word, device[outcome == code])
        for name in _SUMS:
            self._add(name, device, columns[name])
        for name in _PHASES:
            self._add(f"done_{name}", device[done], columns[name][done])
        self._add("wasted_j", device[~done], columns["energy_j"][~done])
        place = np.searchsorted(self.rounds, numbers(batch, "round")[done])
        if place.size and (place.max() >= self.rounds.size):
            raise RunError("holds client rows of a round that it does not hold", file=self.run.path)
        self._add("waiting_s", device[done], np.maximum(self.ends[place] - columns["ended_s"][done], 0.0))
        self._extreme("footprint_bytes", device, numbers(batch, "footprint_bytes"), 1.0)
        self._extreme("available_bytes", device, numbers(batch, "available_bytes"), -1.0)
        self.width = max(self.width, int(client.max()) + 1)
        self.completed = grown(self.completed, self.width)
        self.dispatched = grown(self.dispatched, self.width)
        self.device_of = grown(self.device_of, self.width, -1)
        np.add.at(self.completed, client[done], 1)
        np.add.at(self.dispatched, client, 1)
        self.device_of[client] = device
        self.by_way.add(batch.column("technique"), client, done, self.width)

    def by_device(self) -> dict[str, dict[str, Any]]:
        """One entry a device, by name."""
        clients = np.bincount(self.device_of[self.device_of >= 0], minlength=len(self.devices.names))
        result = {}
        for name in sorted(self.devices.names):
            at = self.devices.names.index(name)
            value = {
                key: float(column[at]) if at < column.size else 0.0 for key, column in self.table.items()
            }
            done = value["completed"]
            entry: dict[str, Any] = {
                "clients": int(clients[at]),
                "client_rounds": int(value["client_rounds"]),
                "outcomes": {word: int(value[word]) for word in OUTCOMES},
            }
            entry |= {key: value[key] for key in (*_PHASES, "waiting_s")}
            entry |= {f"mean_{key}": value[f"done_{key}"] / done if done else math.nan for key in _PHASES}
            entry |= {
                key: value[key]
                for key in ("downloaded_bytes", "uploaded_bytes", "energy_j", "wasted_j", "footprint_bytes")
            }
            entry["available_bytes"] = value["available_bytes"]
            result[name] = entry
        return result

    def participation(self) -> dict[str, Any]:
        """Who took part how often."""
        completed = self.completed[: self.width]
        return {
            "clients": int(self.width),
            "selected": int(np.count_nonzero(self.device_of >= 0)),
            "completed": int(np.count_nonzero(completed)),
            "most": int(completed.max()) if completed.size else 0,
            "gini": gini(completed),
        }


def _not_finite(column: pa.Array) -> int:
    """How many values there are that are NaN or infinite."""
    return pc.sum(pc.invert(pc.is_finite(column))).as_py() or 0


def metrics(run: Tables) -> dict[str, dict[str, dict[str, Any]]]:
    """First, last and best value of every metric, by split and metric; non-finite values are skipped."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    known = definitions(run.manifest)
    for batch in run.batches("convergence"):
        for row in batch.to_pylist():
            value, key = row["value"], (row["split"], row["metric"])
            if not math.isfinite(value):
                continue
            entry = found.setdefault(
                key,
                {
                    "first": value,
                    "last": value,
                    "best": value,
                    "first_s": row["time_s"],
                    "last_s": row["time_s"],
                }
                | {"best_s": row["time_s"], "best_round": row["round"], "values": 0},
            )
            entry["last"], entry["last_s"] = value, row["time_s"]
            entry["values"] += 1
            if better(known.get(row["metric"]), value, entry["best"]):
                entry |= {"best": value, "best_s": row["time_s"], "best_round": row["round"]}
    splits: dict[str, dict[str, dict[str, Any]]] = {}
    for (split, metric), entry in sorted(found.items()):
        splits.setdefault(split, {})[metric] = entry
    return splits


def summarise(run: Tables, ended: str = "not finished yet") -> dict[str, Any]:
    """The summary of a run; see :func:`survey`."""
    return survey(run, ended)[0]


def survey(run: Tables, ended: str = "not finished yet") -> tuple[dict[str, Any], ClientSums]:
    """The summary of a run, from its tables, and the sums behind it.

    Args:
        run: finished or not.
        ended: why the run ended, in words.

    Raises:
        RunError: if a table is missing or damaged.
    """
    batches = list(run.batches("rounds", ("round", "start_s", "end_s", "wasted_s")))
    column: dict[str, NDArray[Any]] = {
        name: np.concatenate([numbers(b, name) for b in batches]) if batches else np.zeros(0)
        for name in ("round", "start_s", "end_s", "wasted_s")
    }
    if column["round"].size and np.any(np.diff(column["round"]) <= 0):
        raise RunError("holds rounds that are not in order", file=run.path)
    times = np.concatenate([column[name] for name in ("start_s", "end_s", "wasted_s")])
    if not np.all(np.abs(times) < _LARGEST):
        raise RunError("holds rounds without a proper start and end", file=run.path)
    lengths = column["end_s"] - column["start_s"]
    sums = ClientSums(run, column["round"], column["end_s"])
    for batch in run.batches("clients", _COLUMNS):
        sums.add(batch)
    devices = sums.by_device()

    def total(key: str) -> float:
        return float(sum(entry[key] for entry in devices.values()))

    energy, wasted = total("energy_j"), total("wasted_j")
    summary = {
        "ended": ended,
        "rounds": int(column["round"].size),
        "client_rounds": int(total("client_rounds")),
        "end_s": float(column["end_s"][-1]) if lengths.size else 0.0,
        "mean_round_s": float(lengths.mean()) if lengths.size else math.nan,
        "longest_round_s": float(lengths.max()) if lengths.size else math.nan,
        "outcomes": {word: sum(e["outcomes"][word] for e in devices.values()) for word in OUTCOMES},
        "not_finite": {
            "losses": sums.not_finite,
            "values": sum(_not_finite(b.column("value")) for b in run.batches("convergence", ("value",))),
        },
        "downloaded_bytes": total("downloaded_bytes"),
        "uploaded_bytes": total("uploaded_bytes"),
        "energy_j": energy,
        "wasted_j": wasted,
        "wasted_j_share": wasted / energy if energy > 0 else math.nan,
        "wasted_s": float(column["wasted_s"].sum()),
        "participation": sums.participation(),
        "devices": devices,
        "metrics": metrics(run),
        **sums.by_way.figures(sums.width),
    }
    for key in ("corpus", "examples"):
        if isinstance(found := run.manifest.get(key), dict):
            summary[key] = found
    result = json_ready(summary)
    assert isinstance(result, dict)
    return result, sums
