"""Rearranging what an unfinished run holds: cutting it off at a round, and merging it at the end.

Both work on a bounded number of rows at a time. The rows alone decide the result: row groups have a
fixed number of rows, wherever segments began and ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from fedsim import files
from fedsim.errors import RunError
from fedsim.results import tables
from fedsim.results.columns import TABLES, schema
from fedsim.results.journal import Record
from fedsim.results.parts import (
    INITIAL,
    ROW_GROUP_ROWS,
    Index,
    Segment,
    journal_records,
    read_index,
    remove_unnamed,
    write_segment,
)
from fedsim.results.pending import Pending
from fedsim.results.reading import Run


def cut(path: Path, round_index: int | None) -> Index:
    """Turn the journal of an unfinished run into a segment and drop the rounds from ``round_index`` on.

    The new index takes effect in one step; a crash before it leaves the run as it was.

    Raises:
        RunError: if rounds before ``round_index`` are missing.
    """
    parts = path / "parts"
    index = read_index(parts)
    limit = float("inf") if round_index is None else round_index
    fresh, have = Pending(), max([INITIAL, *(s.last for s in index.segments)])
    for record in journal_records(parts, index):
        have = max(have, record.round)
        if record.round < limit:
            fresh.add(record)
    if round_index is not None and have < round_index - 1:
        raise RunError(f"has no round {have + 1}; it cannot go on from round {round_index}", file=path)
    kept: list[Segment] = []
    run = Run(path, finished=False)
    for segment in index.segments:
        if segment.last < limit:
            kept.append(segment)
        elif segment.first < limit:
            last = int(limit) - 1
            kept.append(Segment(index.next_name("segment"), segment.first, last))
            write_segment(parts, kept[-1], [_stored(run, segment.first, last)])
    if fresh.first is not None:
        kept.append(Segment(index.next_name("segment"), fresh.first, fresh.last))
        write_segment(parts, kept[-1], fresh.records)
    index.segments = kept
    index.journal = index.next_name("journal")
    index.write(parts)
    remove_unnamed(parts, index)
    files.remove_temporary(path)
    return index


def _plain(batch: pa.RecordBatch, table: str) -> pa.RecordBatch:
    """A batch with the table's own schema: dictionaries become text again."""
    columns = [column.cast(f.type) for column, f in zip(batch.columns, schema(table), strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=schema(table))


def _stored(run: Run, first: int, last: int) -> Record:
    """Stored rows of the rounds first..last, as if they were one record."""
    gathered = []
    for table in TABLES:
        batches = [_plain(b, table) for b in run.batches(table, rounds=(first, last))]
        rows = pa.Table.from_batches(batches, schema(table)).combine_chunks().to_batches()
        gathered.append(rows[0] if rows else tables.empty(table))
    return Record(last, (gathered[0], gathered[1], gathered[2]))


def row_groups(run: Run, table: str) -> Iterator[pa.Table]:
    """All rows of a table in pieces of exactly ``ROW_GROUP_ROWS`` rows, the last one shorter."""
    held = pa.Table.from_batches([], schema(table))
    for batch in run.batches(table):
        held = pa.concat_tables([held, pa.Table.from_batches([_plain(batch, table)])])
        while held.num_rows >= ROW_GROUP_ROWS:
            yield held.slice(0, ROW_GROUP_ROWS).combine_chunks()
            held = held.slice(ROW_GROUP_ROWS).combine_chunks()
    if held.num_rows:
        yield held.combine_chunks()
