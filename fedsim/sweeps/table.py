"""``sweep.parquet``: one row a point, its parameters and every figure of its summary, tidy.

Columns, in this order: ``point``, ``status``, ``message``, ``address``, the parameters by their key
paths, then the figures of ``summary.json`` by theirs (``outcomes.completed``,
``devices.raspberry-pi-4.energy_j``), sorted, and where speeds were drawn the ends of their intervals
(``interval.end_s.low``). A figure that a point does not have is null, as are all of a failed one.
Each column carries its unit and meaning in the schema. The same points give the same bytes, wherever
and in whatever order they were computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fedsim import files
from fedsim.results.columns import SUMMARY
from fedsim.scenario.sweep import CASE, Point, shown

FILE = "sweep.parquet"
PENDING, DONE, FAILED = "pending", "done", "failed"
_OWN = {
    "point": "Number of the point, from 0, in the order of the sweep file.",
    "status": "done, or failed: the point could not be computed.",
    "message": "Why a failed point failed, in one sentence; empty otherwise.",
    "address": "Hash of all that decides the point's result: equal addresses, equal results.",
}
_UNITS = {"_s": "s", "_bytes": "bytes", "_j": "J", "_w": "W"}


@dataclass(frozen=True)
class Row:
    """What became of one point: its address, its summary, or why it failed; neither: still to come."""

    point: Point
    address: str
    summary: Mapping[str, Any] | None
    fault: str | None

    @property
    def status(self) -> str:
        """In a word."""
        return FAILED if self.fault is not None else PENDING if self.summary is None else DONE


def unit_of(column: str) -> str:
    """The unit that a column's name ends in; empty for counts, shares and names."""
    figure = column.removesuffix(".low").removesuffix(".high")  # the ends of its interval
    return next((unit for end, unit in _UNITS.items() if figure.endswith(end)), "")


def meaning_of(path: Sequence[str]) -> str:
    """What a figure of a summary says, from the written definitions; empty if it has none."""
    for pattern, meaning in SUMMARY.items():
        parts = pattern.split(".")
        if len(parts) == len(path) and all(p in ("*", q) for p, q in zip(parts, path, strict=True)):
            return meaning
    return ""


def is_figure(name: str) -> bool:
    """Whether a summary can have a figure of that name."""
    return bool(meaning_of(name.split(".")))


def figures(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The leaves of a summary with their paths; nulls are left out.

    Of intervals there are the ends, and those of devices are left to the points' own summaries.
    """
    for key, value in tree.items():
        if key == "interval" and path[:1] == ("devices",):
            continue
        if "interval" in path and key in ("level", "draws"):
            continue
        if isinstance(value, Mapping):
            yield from figures(value, (*path, key))
        elif value is not None:
            yield (*path, key), value


def build(rows: Sequence[Row], columns: Sequence[str]) -> pa.Table:
    """The table of a sweep.

    Args:
        rows: what became of every point.
        columns: the columns of the parameters, in the order of the axes.
    """
    ordered = sorted(rows, key=lambda row: row.point.number)
    made: list[tuple[pa.Field, pa.Array]] = []

    def add(name: str, values: list[Any], meaning: str, unit: str = "") -> None:
        array = _array(values)
        made.append((pa.field(name, array.type, metadata={"unit": unit, "meaning": meaning}), array))

    add("point", [row.point.number for row in ordered], _OWN["point"])
    add("status", [row.status for row in ordered], _OWN["status"])
    add("message", [row.fault or "" for row in ordered], _OWN["message"])
    add("address", [row.address for row in ordered], _OWN["address"])
    for name in columns:
        meaning = "Name of the set of changes." if name == CASE else f"Parameter: {name} of the scenario."
        add(name, [row.point.parameters.get(name) for row in ordered], meaning)
    found = [dict(figures(row.summary or {})) for row in ordered]
    for path in sorted({path for one in found for path in one}):
        name = ".".join(path)
        add(name, [one.get(path) for one in found], meaning_of(path), unit_of(name))
    return pa.Table.from_arrays([array for _, array in made], schema=pa.schema([field for field, _ in made]))


def _array(values: list[Any]) -> pa.Array:
    """A column of one type: whole numbers, numbers, truths, or else text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds and kinds <= {int, float}:
        kind = pa.int64() if kinds == {int} else pa.float64()
        return pa.array([None if v is None else kind.to_pandas_dtype()(v) for v in values], kind)
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    return pa.array(
        [None if v is None else v if isinstance(v, str) else shown(v) for v in values], pa.string()
    )


def write(table: pa.Table, directory: Path) -> Path:
    """Write a table as ``sweep.parquet`` of a sweep directory, in one step."""
    path = directory / FILE
    with files.replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_statistics=True)
    return path
