"""Reading a run directory, finished or not: lazily, in bounded memory, or as pandas frames.

Everything is checked against the written columns before it is used. Whatever is missing or damaged
is a :class:`~fedsim.errors.RunError` of one sentence. No file is executed or unpickled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fedsim import files, yamlfile
from fedsim.errors import RunError
from fedsim.results import parts as parts_
from fedsim.results.columns import TABLES, schema
from fedsim.results.manifest import check_format
from fedsim.results.pending import joined

if TYPE_CHECKING:
    import pandas as pd

_TEXT = {table: [c.name for c in columns if c.dtype == "string"] for table, columns in TABLES.items()}
BATCH_ROWS = 1 << 16


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        RunError: if the file is missing, too large, or not one JSON object.
    """
    if not path.exists():
        raise RunError("is missing; give the directory of a run", file=path)
    value = files.read_json(path, RunError)
    if not isinstance(value, dict):
        raise RunError("is damaged: it is not a JSON object", file=path)
    return value


def _open(path: Path, table: str) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path, read_dictionary=_TEXT[table], page_checksum_verification=True)
    except FileNotFoundError:
        raise RunError("is missing; the run directory is incomplete", file=path) from None
    except KeyError:
        raise RunError(f"lacks one of the columns {', '.join(_TEXT[table])}", file=path) from None
    except (OSError, pa.ArrowException, ValueError):
        raise RunError("is damaged: it is not a readable Parquet file", file=path) from None
    found = file.schema_arrow
    for field in schema(table):
        if field.name not in found.names:
            file.close()
            raise RunError(f"has no column {field.name!r}", file=path)
        kind = found.field(field.name).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if kind != field.type and not (field.type == pa.string() and pa.types.is_large_string(kind)):
            file.close()
            raise RunError(f"column {field.name!r} is {kind}, not {field.type}", file=path)
    return file


def _file_batches(
    path: Path, table: str, columns: Sequence[str], rounds: tuple[int, int] | None
) -> Iterator[pa.RecordBatch]:
    with _open(path, table) as file:
        groups = list(range(file.metadata.num_row_groups))
        if rounds is not None:
            groups = [g for g in groups if _overlaps(file.metadata.row_group(g).column(0).statistics, rounds)]
        missing = sum(file.metadata.row_group(group).num_rows for group in groups)
        try:
            for group in groups:  # one at a time: all that are asked for together are read ahead
                for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=list(columns)):
                    batch.validate(full=True)
                    _refuse_nulls(batch, path)
                    missing -= batch.num_rows
                    yield batch.select(list(columns))
        except (OSError, pa.ArrowException, ValueError):
            raise RunError("is damaged: its data cannot be read", file=path) from None
        if missing:
            raise RunError("is damaged: it lacks rows that it says it has", file=path)


def _refuse_nulls(batch: pa.RecordBatch, path: Path) -> None:
    """Every cell has a value: what is not known is NaN.

    Raises:
        RunError: naming a column with an empty cell.
    """
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        words = column.dictionary if pa.types.is_dictionary(column.type) else column
        if column.null_count or words.null_count:
            raise RunError(f"column {name!r} has an empty cell", file=path)


def _overlaps(statistics: Any, rounds: tuple[int, int]) -> bool:
    if statistics is None or not statistics.has_min_max:
        return True
    return bool(statistics.min <= rounds[1] and statistics.max >= rounds[0])


class Run:
    """A run directory.

    Attributes:
        path: the directory.
        finished: whether the run has come to its end.
    """

    def __init__(self, path: Path, finished: bool) -> None:
        self.path = path
        self.finished = finished

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What went in: seed, versions, hashes of the inputs."""
        return read_json(self.path / "manifest.json")

    @cached_property
    def scenario(self) -> dict[str, Any]:
        """The resolved scenario."""
        value = yamlfile.load(self.path / "scenario.yaml", RunError)
        if not isinstance(value, dict):
            raise RunError("is damaged: it is not a mapping", file=self.path / "scenario.yaml")
        return value

    @cached_property
    def scenario_text(self) -> str:
        """The resolved scenario as written."""
        return files.read_text(self.path / "scenario.yaml", RunError, yamlfile.MAX_BYTES)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """``summary.json``; for an unfinished run, what it would say so far."""
        if self.finished:
            return read_json(self.path / "summary.json")
        from fedsim.results.summary import summarise

        return summarise(self)

    @cached_property
    def rounds(self) -> pd.DataFrame:
        """``rounds.parquet`` as a frame."""
        return self.frame("rounds")

    @cached_property
    def clients(self) -> pd.DataFrame:
        """``clients.parquet`` as a frame; device and outcome are categories."""
        return self.frame("clients")

    @cached_property
    def convergence(self) -> pd.DataFrame:
        """``convergence.parquet`` as a frame."""
        return self.frame("convergence")

    def frame(self, table: str, rounds: tuple[int, int] | None = None) -> pd.DataFrame:
        """A table, or its rows of the rounds first..last (both included), as a pandas frame."""
        batches = list(self.batches(table, rounds=rounds))
        shape = schema(table)
        for name in _TEXT[table]:
            place = shape.get_field_index(name)
            shape = shape.set(place, pa.field(name, pa.dictionary(pa.int32(), pa.string())))
        rows = pa.Table.from_batches([b.cast(shape) for b in batches], shape).unify_dictionaries()
        frame: pd.DataFrame = rows.replace_schema_metadata(None).to_pandas()
        return frame

    def batches(
        self, table: str, columns: Sequence[str] | None = None, rounds: tuple[int, int] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The rows of a table in order, a bounded number at a time; text columns are dictionaries.

        Args:
            table: ``rounds``, ``clients`` or ``convergence``.
            columns: only these.
            rounds: only rows of the rounds first..last, both included.

        Raises:
            RunError: if a file is missing or damaged.
        """
        names = list(columns) if columns is not None else [c.name for c in TABLES[table]]
        wanted = names if rounds is None or "round" in names else [*names, "round"]
        for batch in self._sources(table, wanted, rounds):
            if rounds is not None:
                keep = pc.and_(
                    pc.greater_equal(batch.column("round"), rounds[0]),
                    pc.less_equal(batch.column("round"), rounds[1]),
                )
                batch = batch.filter(keep).select(names)
            if batch.num_rows:
                yield batch

    def _sources(
        self, table: str, names: list[str], rounds: tuple[int, int] | None
    ) -> Iterator[pa.RecordBatch]:
        if self.finished:
            yield from _file_batches(self.path / f"{table}.parquet", table, names, rounds)
            return
        parts = self.path / "parts"
        index = parts_.read_index(parts)
        for segment in index.segments:
            if rounds is None or (segment.first <= rounds[1] and segment.last >= rounds[0]):
                yield from _file_batches(segment.file(parts, table), table, names, rounds)
        position = list(TABLES).index(table)
        for record in joined(parts_.journal_records(parts, index)):
            batch = record.batches[position].select(names)
            for name in set(names) & set(_TEXT[table]):
                place = batch.schema.get_field_index(name)
                batch = batch.set_column(place, name, batch.column(place).dictionary_encode())
            yield batch


def is_run(path: Path) -> bool:
    """Whether a directory holds a run."""
    return (path / "manifest.json").is_file()


def load(run_dir: str | Path) -> Run:
    """Open a run directory, finished or not; tables are read when asked for.

    Raises:
        RunError: if it is not a run directory, or its manifest or scenario is damaged.
    """
    path = Path(run_dir)
    if not path.is_dir():
        raise RunError("is not a directory; give the directory of a run", file=path)
    if not is_run(path):
        raise RunError("holds no run: it has no manifest.json", file=path)
    files.refuse_links(path, RunError)
    run = Run(path, finished=(path / "summary.json").is_file())
    check_format(run.manifest, path / "manifest.json")
    _ = run.scenario
    if not run.finished:
        parts_.read_index(path / "parts")
    return run
