"""What an unfinished run keeps: whole Parquet segments, a journal, and an index that names both.

``parts/index.json`` is the truth. It names the segments in order, the round with which each begins
and ends, and the journal. It is replaced in one step, after everything that it names has reached
the disk; files that it does not name are leftovers of a crash. Records of the journal whose round
a segment already holds are skipped, so no round is lost and none is there twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fedsim import files
from fedsim.errors import RunError
from fedsim.locks import Lock
from fedsim.results import journal
from fedsim.results.columns import TABLES, schema

#: A round's position before the first one: the evaluation of the initial model.
INITIAL = -1
ROW_GROUP_ROWS = 1 << 17


@dataclass(frozen=True)
class Segment:
    """Three Parquet files (one a table) that hold the rounds ``first`` to ``last``."""

    name: str
    first: int
    last: int

    def file(self, parts: Path, table: str) -> Path:
        """Where the segment keeps that table."""
        return parts / f"{self.name}-{table}.parquet"


@dataclass
class Index:
    """The content of ``parts/index.json``."""

    segments: list[Segment] = field(default_factory=list)
    journal: str = "journal-0"
    serial: int = 0

    @property
    def last(self) -> int | None:
        """The last round that a segment holds, or None."""
        return self.segments[-1].last if self.segments else None

    def next_name(self, what: str) -> str:
        """A file name that was never used in this run."""
        self.serial += 1
        return f"{what}-{self.serial}"

    def write(self, parts: Path) -> None:
        """Make this the truth."""
        files.write_json(
            parts / "index.json",
            {
                "serial": self.serial,
                "journal": self.journal,
                "segments": [{"name": s.name, "first": s.first, "last": s.last} for s in self.segments],
            },
        )


def _plain_name(value: Any) -> str:
    if not isinstance(value, str) or Path(value).name != value or not value.strip("."):
        raise ValueError(f"{value!r} is not a plain file name")
    return value


def read_index(parts: Path) -> Index:
    """Read ``parts/index.json``.

    Raises:
        RunError: if it is missing or damaged.
    """
    path = parts / "index.json"
    raw = files.read_json(path, RunError)
    try:
        segments = [Segment(_plain_name(s["name"]), int(s["first"]), int(s["last"])) for s in raw["segments"]]
        return Index(segments, _plain_name(raw["journal"]), int(raw["serial"]))
    except (ValueError, KeyError, TypeError, OverflowError):
        raise RunError("is damaged; this run cannot be read or continued", file=path) from None


def parquet_writer(path: Path, table: str) -> pq.ParquetWriter:
    """A writer for one of the tables; its pages carry checksums, so that damage is noticed."""
    return pq.ParquetWriter(path, schema(table), compression="zstd", write_page_checksum=True)


def write_segment(parts: Path, segment: Segment, records: list[journal.Record]) -> None:
    """Write the three files of a segment, each in one step."""
    for position, table in enumerate(TABLES):
        with (
            files.replacing(segment.file(parts, table)) as temporary,
            parquet_writer(temporary, table) as writer,
        ):
            rows = pa.Table.from_batches([r.batches[position] for r in records], schema(table))
            writer.write_table(rows, row_group_size=ROW_GROUP_ROWS)


def journal_records(parts: Path, index: Index) -> Iterator[journal.Record]:
    """The journal's records that no segment holds yet, in order of rounds."""
    path = parts / index.journal
    last = index.last
    try:
        for record, _ in journal.read(path):
            if last is None or record.round > last:
                last = record.round
                yield record
    except FileNotFoundError:
        return
    except OSError as fault:
        raise RunError(f"cannot be read: {fault.strerror}", file=path) from None


def remove_unnamed(parts: Path, index: Index) -> None:
    """Delete what the index does not name."""
    named = {index.journal, "index.json", "lock"}
    named |= {segment.file(parts, table).name for segment in index.segments for table in TABLES}
    for path in parts.iterdir():
        if path.name not in named and path.is_file():
            path.unlink(missing_ok=True)


def never_began(path: Path) -> bool:
    """Whether all that a directory holds was left by a run that stopped before its manifest was written."""
    found = {entry.name for entry in path.iterdir()}
    ours = {"parts", "scenario.yaml"} | {name for name in found if files.is_temporary(name)}
    if not found <= ours or "parts" not in found:
        return False
    inside = {entry.name for entry in (path / "parts").iterdir()}
    return all(name in ("lock", "index.json") or files.is_temporary(name) for name in inside)


def lock(path: Path) -> Lock:
    """Hold the run directory ``path`` for this process.

    Raises:
        RunError: if another process is writing it.
        OSError: if the disk refuses.
    """
    return Lock(path / "parts" / "lock", path)
