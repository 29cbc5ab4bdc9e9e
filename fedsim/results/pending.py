"""Finished rounds in memory, until they are a Parquet segment or have been read.

A round of a few clients takes some kilobytes of objects for a few hundred bytes of figures. Records
are therefore joined as they come, so that a hundred thousand small rounds take little more memory
than their figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import pyarrow as pa

from fedsim.results.columns import TABLES, schema
from fedsim.results.journal import Record
from fedsim.results.tables import empty

#: So many records are joined into one.
_JOINED = 256


class Pending:
    """Records that no segment holds yet, in order of rounds."""

    def __init__(self) -> None:
        self.first: int | None = None
        self.nbytes = 0
        self._joined: list[Record] = []
        self._single: list[Record] = []

    def add(self, record: Record) -> None:
        """Take in the next round's record."""
        if self.first is None:
            self.first = record.round
        self._single.append(record)
        self.nbytes += record.nbytes
        if len(self._single) >= _JOINED:
            self._joined.append(_join(self._single))
            self._single = []

    @property
    def records(self) -> list[Record]:
        """What was taken in; a record may hold several rounds and then bears the last one's index."""
        return [*self._joined, *self._single]

    @property
    def last(self) -> int:
        """The last round taken in."""
        return self.records[-1].round


def joined(records: Iterable[Record]) -> Iterator[Record]:
    """The same rounds in fewer records, a bounded number of rounds in each."""
    rest = iter(records)
    while several := list(islice(rest, _JOINED)):
        yield _join(several)


def _join(records: list[Record]) -> Record:
    whole = [
        pa.Table.from_batches([record.batches[position] for record in records], schema(table))
        for position, table in enumerate(TABLES)
    ]
    one = [rows.combine_chunks().to_batches() for rows in whole]
    batches = [rows[0] if rows else empty(table) for rows, table in zip(one, TABLES, strict=True)]
    return Record(records[-1].round, (batches[0], batches[1], batches[2]))
