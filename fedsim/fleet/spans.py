"""Spans of time read from a trace file, and looked up for many clients at once.

A trace is a CSV or Parquet file with columns ``client, start_s, end_s`` (and ``bytes`` for memory
pressure). Clients of the trace are put in order of their name; client ``i`` of the fleet follows
client ``i`` modulo their number. With a period, the trace repeats for ever; without one, nothing
happens after its end. Times are rounded down to 1/1024 s.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from fedsim import files, paths
from fedsim.errors import TraceError
from fedsim.fleet.who import Floats, Ints, on_grid

MOST_BYTES = 300 * files.MB
MOST_SPANS = 10_000_000


@dataclass(frozen=True, eq=False)
class Spans:
    """Spans of each trace client, ascending and not overlapping, one client after another.

    Attributes:
        first: int64[clients + 1], where each client's spans begin in the arrays below.
        start_s: float64[m].
        end_s: float64[m].
        value: float64[m], bytes held in the span; 0 for a trace that has none.
        file: where it came from.
    """

    first: Ints
    start_s: Floats
    end_s: Floats
    value: Floats
    file: str

    def __repr__(self) -> str:
        return f"Spans({self.file!r})"

    def ranges(self, client: Ints) -> tuple[Ints, Ints]:
        """Where the spans of fleet clients begin and end in the arrays."""
        row = client % (self.first.size - 1)
        return self.first[row], self.first[row + 1]

    def upto(self, client: Ints, time_s: Floats) -> Ints:
        """Index of each client's last span with ``start_s <= time_s``; one before its first if none."""
        low, high = self.ranges(client)
        low, high = low.copy(), high.copy()
        while (low < high).any():
            middle = (low + high) // 2
            before = (low < high) & (self.start_s[np.minimum(middle, self.start_s.size - 1)] <= time_s)
            high = np.where((low < high) & ~before, middle, high)
            low = np.where(before, middle + 1, low)
        return low - 1


def build(client: ArrayLike, start_s: Floats, end_s: Floats, value: Floats | None, file: str) -> Spans:
    """Spans from columns; see :func:`load` for what is refused.

    Spans that overlap or touch are joined if the trace has no bytes, and refused to overlap if it has.
    """
    start, end = np.asarray(start_s, np.float64), np.asarray(end_s, np.float64)
    amount = np.zeros(start.size) if value is None else np.asarray(value, np.float64)
    if not start.size:
        raise TraceError("has no rows", file=file)
    for name, column in (("start_s", start), ("end_s", end), ("bytes", amount)):
        bad = ~np.isfinite(column) | (column < 0.0) | (column > 1e12)
        if bad.any():
            row = int(bad.argmax())
            raise TraceError(
                f"has {column[row]} in row {row + 1}; give a number from 0 to 1e12", file=file, key=name
            )
    start, end = on_grid(start), on_grid(end)
    if (end < start).any():
        row = int((end < start).argmax())
        raise TraceError(f"row {row + 1} ends before it starts", file=file, key="end_s")
    names = np.asarray(client)
    if names.dtype.kind not in "iu":
        names = names.astype(str)
    _, code = np.unique(names, return_inverse=True)
    order = np.lexsort((end, start, code))
    code, start, end, amount = code[order], start[order], end[order], amount[order]
    # Latest end among the rows of the same client so far, by rank: exact, and clients stay apart.
    ranked, rank = np.unique(end, return_inverse=True)
    reached = ranked[np.maximum.accumulate(code * ranked.size + rank) - code * ranked.size]
    fresh = np.ones(start.size, dtype=np.bool_)
    same = code[1:] == code[:-1]
    if value is None:
        fresh[1:] = ~same | (start[1:] > reached[:-1])
    elif (same & (start[1:] < reached[:-1])).any():
        row = int(order[int((same & (start[1:] < reached[:-1])).argmax()) + 1])
        raise TraceError(f"row {row + 1} overlaps another span of the same client", file=file, key="start_s")
    begins = np.flatnonzero(fresh)
    end = np.maximum.reduceat(end, begins)
    start, amount, code = start[begins], amount[begins], code[begins]
    first = np.searchsorted(code, np.arange(int(code[-1]) + 2))
    return Spans(first.astype(np.int64), start, end, amount, file)


def find(name_or_path: str) -> Path:
    """A trace by its path, or by its name among those that come with fedsim.

    Raises:
        TraceError: if there is none.
    """
    for suffix in (".csv", ".parquet"):
        if (path := paths.find(name_or_path, "traces/availability", suffix)) is not None:
            return path
    raise TraceError(f"there is no trace {name_or_path!r}; give the path of a CSV or Parquet file")


def lap(time_s: Floats, period_s: float | None) -> tuple[Floats, Floats]:
    """Start of the lap of a trace that holds each instant, and the instant within it."""
    if period_s is None:
        return np.zeros(time_s.size), time_s
    within = np.mod(time_s, period_s)  # exact for floats
    return time_s - within, within


def load(name_or_path: str, *, with_bytes: bool) -> Spans:
    """Read a trace file.

    Raises:
        TraceError: if it cannot be found or read, lacks a column, has no rows, a time that is not a
            number from 0 to 1e12, a row that ends before it starts, or (with bytes) rows of one
            client that overlap.
    """
    path = find(name_or_path)
    wanted = ["client", "start_s", "end_s", *(["bytes"] if with_bytes else [])]
    columns = _columns(path, wanted)
    numbers: dict[str, Floats] = {}
    for name in wanted[1:]:
        try:
            numbers[name] = np.asarray(columns[name].to_pylist(), dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            raise TraceError("holds something that is not a number", file=path, key=name) from None
    client = columns["client"].to_pylist()
    if not all(isinstance(value, int) for value in client):
        client = [str(value) for value in client]
    try:
        names = np.asarray(client)
    except OverflowError:
        raise TraceError("holds a number that is too large", file=path, key="client") from None
    return build(names, numbers["start_s"], numbers["end_s"], numbers.get("bytes"), str(path))


def _columns(path: Path, wanted: list[str]) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    files.size_of(path, TraceError, MOST_BYTES)
    table: Any = None
    try:
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as opened:
                rows, names = opened.metadata.num_rows, opened.schema_arrow.names
                table = (
                    opened.read([name for name in wanted if name in names]) if rows <= MOST_SPANS else None
                )
        else:
            one_by_one = pc.ReadOptions(use_threads=False)  # so that an error says in which row
            table = pc.read_csv(path, read_options=one_by_one)
            rows, names = table.num_rows, table.column_names
        if table is not None:
            table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, KeyError, MemoryError) as fault:
        reason = next(iter(str(fault).splitlines()), "it is damaged")
        row = re.match(r"CSV parse error: Row #(\d+): (.*)", reason)
        where, reason = (f"line {row[1]}", row[2]) if row else (None, reason)
        raise TraceError(f"cannot be read: {reason}", file=path, key=where) from None
    if rows > MOST_SPANS:
        raise TraceError(f"has {rows:,} rows; {MOST_SPANS:,} is the most", file=path)
    for name in wanted:
        if name not in names:
            found = ", ".join(names)
            raise TraceError(f"has no column {name!r}; it has {found}", file=path)
    return {name: table.column(name) for name in wanted}


class Recording:
    """What a replay of either kind has: a trace file, read when it is first asked for, and a period."""

    with_bytes: ClassVar[bool] = False
    file: str
    period: float | None

    def __post_init__(self) -> None:
        period = self.period
        if period is not None and not (1.0 <= period <= 1e12 and on_grid(np.array(period)) == period):
            raise ValueError(f"{period:g} s is no period; give a whole number of seconds from 1 on")

    @cached_property
    def spans(self) -> Spans:
        """What was recorded."""
        return load(self.file, with_bytes=self.with_bytes)

    def files(self) -> list[Path]:
        """The trace."""
        return [find(self.file)]
