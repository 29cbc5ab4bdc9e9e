"""The three tables of a finished run as Parquet files: written, and read with every check.

The rows alone decide the bytes: row groups have a fixed number of rows. Pages carry checksums, so that
damage is noticed. No file is executed or unpickled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fedsim import files
from fedsim.errors import RunError
from fedsim.results.columns import schema
from fedsim.results.tables import NULLABLE, TEXT

ROW_GROUP_ROWS = 1 << 17
BATCH_ROWS = 1 << 16


def write(path: Path, table: str, batches: Iterable[pa.RecordBatch]) -> None:
    """Write a final file in one step, in bounded memory.

    Raises:
        OSError: if the disk refuses.
    """
    with (
        files.replacing(path) as temporary,
        pq.ParquetWriter(temporary, schema(table), compression="zstd", write_page_checksum=True) as writer,
    ):
        for rows in _row_groups(table, batches):
            writer.write_table(rows, row_group_size=ROW_GROUP_ROWS)


def _row_groups(table: str, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """All rows in pieces of exactly ``ROW_GROUP_ROWS`` rows, the last one shorter; text is plain text."""
    shape = schema(table)
    held = pa.Table.from_batches([], shape)
    for batch in batches:
        columns = [column.cast(field.type) for column, field in zip(batch.columns, shape, strict=True)]
        held = pa.concat_tables([held, pa.Table.from_arrays(columns, schema=shape)])
        while held.num_rows >= ROW_GROUP_ROWS:
            yield held.slice(0, ROW_GROUP_ROWS).combine_chunks()
            held = held.slice(ROW_GROUP_ROWS).combine_chunks()
    if held.num_rows:
        yield held.combine_chunks()


def _open(path: Path, table: str, may_lack: Sequence[str]) -> pq.ParquetFile:
    try:
        words = sorted(TEXT[table] - set(may_lack))
        file = pq.ParquetFile(path, read_dictionary=words, page_checksum_verification=True)
    except FileNotFoundError:
        raise RunError("is missing; the run directory is incomplete", file=path) from None
    except KeyError:
        raise RunError(f"lacks one of the columns {', '.join(sorted(TEXT[table]))}", file=path) from None
    except (OSError, pa.ArrowException, ValueError):
        raise RunError("is damaged: it is not a readable Parquet file", file=path) from None
    found = file.schema_arrow
    for field in schema(table):
        if field.name not in found.names:
            if field.name in may_lack:
                continue
            file.close()
            raise RunError(f"has no column {field.name!r}", file=path)
        kind = found.field(field.name).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if kind != field.type and not (field.type == pa.string() and pa.types.is_large_string(kind)):
            file.close()
            raise RunError(f"column {field.name!r} is {kind}, not {field.type}", file=path)
    return file


def read(
    path: Path,
    table: str,
    columns: Sequence[str],
    rounds: tuple[int, int] | None = None,
    may_lack: Sequence[str] = (),
) -> Iterator[pa.RecordBatch]:
    """The rows of a final file in order, a bounded number at a time; text columns are dictionaries.

    Args:
        path: the file.
        table: one of ``TABLES``.
        columns: only these.
        rounds: only row groups that may hold one of the rounds first..last, both included.
        may_lack: what an older file does not have; numbers are 0 then, and words empty.

    Raises:
        RunError: if the file is missing or damaged.
    """
    with _open(path, table, may_lack) as file:
        there = [name for name in columns if name in file.schema_arrow.names]
        groups = list(range(file.metadata.num_row_groups))
        if rounds is not None:
            groups = [g for g in groups if _overlaps(file.metadata.row_group(g).column(0).statistics, rounds)]
        missing = sum(file.metadata.row_group(group).num_rows for group in groups)
        try:
            for group in groups:  # one at a time: all that are asked for together are read ahead
                for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=there):
                    batch.validate(full=True)
                    _refuse_nulls(batch, table, path)
                    missing -= batch.num_rows
                    yield _whole(batch, table, columns)
        except (OSError, pa.ArrowException, ValueError):
            raise RunError("is damaged: its data cannot be read", file=path) from None
        if missing:
            raise RunError("is damaged: it lacks rows that it says it has", file=path)


def _whole(batch: pa.RecordBatch, table: str, columns: Sequence[str]) -> pa.RecordBatch:
    """The columns asked for, in order; 0 or no words where an older file has none."""
    for name in columns:
        if name not in batch.schema.names:
            nothing = pa.repeat(pa.scalar("" if name in TEXT[table] else 0.0), batch.num_rows)
            there = nothing.dictionary_encode() if name in TEXT[table] else nothing
            batch = batch.append_column(name, there)
    return batch.select(list(columns))


def _refuse_nulls(batch: pa.RecordBatch, table: str, path: Path) -> None:
    """Every cell has a value, but in columns that say when there is none.

    Raises:
        RunError: naming another column with an empty cell.
    """
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        words = column.dictionary if pa.types.is_dictionary(column.type) else column
        if (column.null_count or words.null_count) and name not in NULLABLE[table]:
            raise RunError(f"column {name!r} has an empty cell", file=path)


def _overlaps(statistics: Any, rounds: tuple[int, int]) -> bool:
    if statistics is None or not statistics.has_min_max:
        return True
    return bool(statistics.min <= rounds[1] and statistics.max >= rounds[0])
