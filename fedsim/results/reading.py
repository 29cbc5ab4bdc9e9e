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

from fedsim import files, yamlfile
from fedsim.errors import RunError
from fedsim.results import parquet, store
from fedsim.results.columns import TABLES, schema
from fedsim.results.manifest import SINCE, check_format, check_goes_on
from fedsim.results.summary import summarise
from fedsim.results.tables import NULLABLE, TEXT
from fedsim.words import slashes

if TYPE_CHECKING:
    import pandas as pd


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
        for name in TEXT[table]:
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
        form = self.manifest.get("format")
        lacks = [name for name, since in SINCE.items() if isinstance(form, int) and form < since]
        found = (
            parquet.read(self.path / f"{table}.parquet", table, names, rounds, lacks)
            if self.finished
            else store.read(self.path, table, names, rounds)
        )
        return found if form != 1 else (_with_nulls(b, table) for b in found)


def _with_nulls(batch: pa.RecordBatch, table: str) -> pa.RecordBatch:
    """What an older run directory says with NaN: that a number is not there."""
    for place, name in enumerate(batch.schema.names):
        if name in NULLABLE[table]:
            column = batch.column(place)
            nulls = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
            batch = batch.set_column(place, name, nulls)
    return batch


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
        right = slashes(path, "give the directory of a run")
        raise RunError(f"is not a directory; {right}", file=path)
    if not is_run(path):
        raise RunError("holds no run: it has no manifest.json", file=path)
    files.refuse_links(path, RunError)
    run = Run(path, finished=(path / "summary.json").is_file())
    check_format(run.manifest, path / "manifest.json")
    _ = run.scenario
    if not run.finished:
        check_goes_on(run.manifest, path / "manifest.json")
        store.look(path)
    return run
