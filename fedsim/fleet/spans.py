"""Spans of time read from a trace file, and looked up for many clients at once.

A trace is a CSV or Parquet file with columns ``client, start_s, end_s`` (and ``bytes`` for memory
pressure). ``client`` is a client's number in the fleet, however it is written: ``3``, ``3.0`` and the
text ``"3"`` are client 3. A client without a line has no spans. With ``clients: repeat`` an id is only
a name: client ``i`` of the fleet follows the ``i``-th id, in natural order, and after the last comes
the first again. With a period, the trace repeats for ever; without one, nothing happens after its end.
Times are rounded down to 1/1024 s.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from fedsim import files, paths
from fedsim.errors import ScenarioError, TraceError
from fedsim.fleet.who import Floats, Ints, on_grid
from fedsim.units import DAY_S
from fedsim.words import slashes

MOST_BYTES = 300 * files.MB
MOST_SPANS = 10_000_000
LATEST_BEGIN_S = 3652 * DAY_S  # a trace of which nothing happens for ten years counts from another time 0
FIRST_MONDAY_S = 4 * DAY_S  # in Unix time

Clients = Literal["by-number", "repeat"]
IDS = "by-number: an id is a client's number, from 0; repeat: clients follow the ids in turn"

_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{0,40})?([eE][+-][0-9]{1,3})?")  # 12e3 may be hexadecimal
_RIGHT = "a client is its number in the fleet, a whole number from 0"


@dataclass(frozen=True, eq=False)
class Spans:
    """Spans of each id of a trace, ascending and not overlapping, one id after another.

    Attributes:
        ids: int64[ids], whose they are, ascending.
        repeat: whether an id is but a place in order, and clients follow them in turn.
        first: int64[ids + 1], where each id's spans begin in the arrays below.
        start_s: float64[m].
        end_s: float64[m].
        value: float64[m], bytes held in the span; 0 for a trace that has none.
        file: where it came from.
    """

    ids: Ints
    repeat: bool
    first: Ints
    start_s: Floats
    end_s: Floats
    value: Floats
    file: str

    def __repr__(self) -> str:
        return f"Spans({self.file!r})"

    def place(self, client: Ints) -> Ints:
        """int64[n]: the place in ``ids`` of what each client follows; -1 if that is nothing."""
        if self.repeat:
            return client % self.ids.size
        place = np.searchsorted(self.ids, client)
        there = self.ids[np.minimum(place, self.ids.size - 1)] == client
        return np.where(there, place, -1)

    def ranges(self, client: Ints) -> tuple[Ints, Ints]:
        """Where the spans of fleet clients begin and end in the arrays; both 0 for a client without any."""
        place = self.place(client)
        return np.where(place < 0, 0, self.first[place]), np.where(place < 0, 0, self.first[place + 1])

    def most(self, client: Ints) -> Floats:
        """float64[n]: the largest value in any span of each client; 0 for a client without any."""
        place = self.place(client)
        return np.where(place < 0, 0.0, np.maximum.reduceat(self.value, self.first[:-1])[place])

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


def build(
    client: ArrayLike,
    start_s: Floats,
    end_s: Floats,
    value: Floats | None,
    file: str,
    *,
    repeat: bool = False,
    where: Callable[[int], str] = lambda row: f"row {row + 1}",
) -> Spans:
    """Spans from columns; see :func:`load` for what is refused.

    Spans that overlap or touch are joined if the trace has no bytes, and refused to overlap if it has.

    Args:
        client: int64[rows], from 0.
        start_s: float64[rows].
        end_s: float64[rows].
        value: float64[rows], bytes; None if the trace has none.
        file: where they came from.
        repeat: see :class:`Spans`.
        where: says which line of the file a row is.
    """
    start, end = np.asarray(start_s, np.float64), np.asarray(end_s, np.float64)
    amount = np.zeros(start.size) if value is None else np.asarray(value, np.float64)
    if not start.size:
        raise TraceError("has no rows", file=file)
    for name, right, column in (
        ("start_s", "seconds", start),
        ("end_s", "seconds", end),
        ("bytes", "a number", amount),
    ):
        bad = ~np.isfinite(column) | (column < 0.0) | (column > 1e12)
        if bad.any():
            row = int(bad.argmax())
            raise TraceError(
                f"has {column[row]} in {where(row)}; give {right} from 0 to 1e12", file=file, key=name
            )
    start, end = on_grid(start), on_grid(end)
    if (end < start).any():
        row = int((end < start).argmax())
        raise TraceError(f"{where(row)} ends before it starts", file=file, key="end_s")
    _refuse_calendar_time(float(start.min()), file)
    ids, code = np.unique(np.asarray(client, np.int64), return_inverse=True)
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
        raise TraceError(f"{where(row)} overlaps another span of the same client", file=file, key="start_s")
    begins = np.flatnonzero(fresh)
    end = np.maximum.reduceat(end, begins)
    start, amount, code = start[begins], amount[begins], code[begins]
    first = np.searchsorted(code, np.arange(ids.size + 1))
    return Spans(ids, repeat, first.astype(np.int64), start, end, amount, file)


def _refuse_calendar_time(first_s: float, file: str) -> None:
    if first_s > LATEST_BEGIN_S:
        monday = (first_s - FIRST_MONDAY_S) // (7 * DAY_S) * (7 * DAY_S) + FIRST_MONDAY_S
        raise TraceError(
            f"begins {first_s / (365.25 * DAY_S):.1f} years after time 0, which is a Monday, 00:00 UTC; "
            f"if these are Unix seconds, subtract {monday:.0f} from all of them",
            file=file,
            key="start_s",
        )


def find(name_or_path: str) -> Path:
    """A trace by its path, or by its name among those that come with fedsim.

    Raises:
        TraceError: if there is none.
    """
    for suffix in (".csv", ".parquet"):
        if (path := paths.find(name_or_path, "traces/availability", suffix)) is not None:
            return path
    right = slashes(name_or_path, "give the path of a CSV or Parquet file")
    raise TraceError(f"there is no trace {name_or_path!r}; {right}")


def lap(time_s: Floats, period_s: float | None) -> tuple[Floats, Floats]:
    """Start of the lap of a trace that holds each instant, and the instant within it."""
    if period_s is None:
        return np.zeros(time_s.size), time_s
    within = np.mod(time_s, period_s)  # exact for floats
    return time_s - within, within


def load(name_or_path: str, *, with_bytes: bool, repeat: bool = False) -> Spans:
    """Read a trace file.

    Args:
        name_or_path: as :func:`find` takes it.
        with_bytes: whether it must have a column of bytes.
        repeat: whether ids are names that clients follow in turn, not clients' numbers.

    Raises:
        TraceError: if it cannot be found or read, lacks a column, has no rows, an id that is blank,
            a fraction, below zero, or (unless ``repeat``) no number, a time that is not a number from 0
            to 1e12, a row that ends before it starts, nothing in its first ten years, or (with bytes)
            rows of one client that overlap.
    """
    path = find(name_or_path)
    wanted = ["client", "start_s", "end_s", *(["bytes"] if with_bytes else [])]
    columns = _columns(path, wanted)
    client = _clients(columns["client"], path, repeat)
    numbers = {name: _numbers(columns[name], path, name) for name in wanted[1:]}
    return build(
        client,
        numbers["start_s"],
        numbers["end_s"],
        numbers.get("bytes"),
        str(path),
        repeat=repeat,
        where=lambda row: _where(path, row),
    )


def _clients(column: Any, path: Path, repeat: bool) -> Ints:
    """int64[rows]: clients' numbers; with ``repeat``, places of the ids in natural order."""
    import pyarrow as pa

    try:
        text = column.cast(pa.string()).dictionary_encode("encode").unify_dictionaries().combine_chunks()
    except pa.ArrowException:
        raise TraceError("holds neither numbers nor text", file=path, key="client") from None
    code = np.asarray(text.indices, np.int64)
    ids: list[int | str] = []
    for cell in text.dictionary.to_pylist():
        try:
            ids.append(_id(cell, repeat))
        except ValueError as fault:
            row = int((code == len(ids)).argmax())
            has, right = fault.args
            raise TraceError(f"has {has} in {_where(path, row)}; {right}", file=path, key="client") from None
    if repeat:
        order = {name: place for place, name in enumerate(sorted({str(name) for name in ids}, key=_natural))}
        ids = [order[str(name)] for name in ids]
    return np.array(ids, np.int64)[code]


def _id(cell: str | None, repeat: bool) -> int | str:
    """A client's number, or the text of an id that is none.

    Raises:
        ValueError: with what the cell has and what would be right, if it is neither.
    """
    text = (cell or "").strip()
    if text.lower() in ("", "nan"):
        raise ValueError("nothing", f"{_RIGHT}, and each line needs one")
    if not _NUMBER.fullmatch(text):
        if repeat:
            return text
        raise ValueError(repr(text), f"{_RIGHT} (with clients: repeat, it may be any name)")
    number = Decimal(text)
    if number != number.to_integral_value() or not 0 <= number < 2**63:
        raise ValueError(text, _RIGHT)
    return int(number)


def _natural(name: str) -> list[tuple[int, str]]:
    """What puts ``c2`` before ``c10``: text, and digits by how many there are, in turn."""
    parts = re.split("([0-9]+)", name)
    digits = [part.lstrip("0") if place % 2 else part for place, part in enumerate(parts)]
    return [(len(part) if place % 2 else 0, part) for place, part in enumerate(digits)] + [(0, name)]


def _numbers(column: Any, path: Path, name: str) -> Floats:
    """float64[rows]; what is blank is NaN."""
    import pyarrow as pa

    cells = column.to_pylist()
    try:
        if pa.types.is_boolean(column.type):
            raise TypeError
        return np.asarray(cells, np.float64)
    except (TypeError, ValueError, OverflowError):
        row = next((row for row, cell in enumerate(cells) if not _is_number(cell)), 0)
        raise TraceError(
            f"holds something that is not a number in {_where(path, row)}", file=path, key=name
        ) from None


def _is_number(cell: Any) -> bool:
    try:
        return cell is None or float(cell) is not None
    except (TypeError, ValueError, OverflowError):
        return False


def _where(path: Path, row: int) -> str:
    """Which line of a CSV file holds a row, blank lines counted; of a Parquet file, which row it is."""
    if path.suffix != ".parquet":
        with closing(files.lines(path, TraceError, MOST_BYTES)) as lines:
            held = (number for number, line in enumerate(lines, 1) if line.strip("\r\n"))
            number = next(islice(held, row + 1, None), None)
        if number is not None:
            return f"line {number}"
    return f"row {row + 1}"


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
            as_text = pc.ConvertOptions(column_types={"client": pa.string()})
            table = pc.read_csv(path, read_options=one_by_one, convert_options=as_text)
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
    clients: Clients

    def __post_init__(self) -> None:
        period = self.period
        if period is not None and not (1.0 <= period <= 1e12 and on_grid(np.array(period)) == period):
            raise ValueError(f"{period:g} s is no period; give a whole number of seconds from 1 on")

    @cached_property
    def spans(self) -> Spans:
        """What was recorded."""
        return load(self.file, with_bytes=self.with_bytes, repeat=self.clients == "repeat")

    def load(self) -> Self:
        """This, with its file read."""
        first_s = float(self.spans.start_s.min())
        if self.period is not None and first_s >= self.period:
            raise ScenarioError("is empty before its period ends", file=self.spans.file)
        return self

    def files(self) -> list[Path]:
        """The trace."""
        return [find(self.file)]
