"""An append-only file of finished rounds, so that a killed run loses none of them.

One record holds one round: a header with a checksum, then the round's three tables as Arrow record
batches of the written schemas. A record is handed to the operating system as soon as the round is
finished, so it survives the death of the process; it is flushed to the disk at most every two
seconds, so that fast rounds stay fast. A torn or damaged record ends the journal: reading stops
before it. Nothing in it is executed or unpickled.
"""

from __future__ import annotations

import os
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from fedsim.results.columns import TABLES, schema

_MAGIC = b"FSJ1"
_HEADER = struct.Struct("<4sI")
_BODY = struct.Struct("<qIII")
SYNC_EVERY_S = 2.0


@dataclass(frozen=True)
class Record:
    """One finished round: its index and one batch a table, in the order of ``TABLES``."""

    round: int
    batches: tuple[pa.RecordBatch, pa.RecordBatch, pa.RecordBatch]

    @property
    def nbytes(self) -> int:
        """Bytes of the batches in memory."""
        return sum(int(batch.nbytes) for batch in self.batches)


def encode(record: Record) -> bytes:
    """A record as bytes."""
    blobs = [batch.serialize().to_pybytes() for batch in record.batches]
    body = b"".join([_BODY.pack(record.round, *map(len, blobs)), *blobs])
    return _HEADER.pack(_MAGIC, zlib.crc32(body)) + body


def read(path: Path) -> Iterator[tuple[Record, int]]:
    """The whole records of a journal, each with the offset of its end; stops at a torn one.

    Raises:
        OSError: if the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        while True:
            header = file.read(_HEADER.size + _BODY.size)
            if len(header) < _HEADER.size + _BODY.size:
                return
            magic, checksum = _HEADER.unpack_from(header)
            round_index, *lengths = _BODY.unpack_from(header, _HEADER.size)
            if magic != _MAGIC or file.tell() + sum(lengths) > size:
                return
            blobs = [file.read(length) for length in lengths]
            if zlib.crc32(b"".join([header[_HEADER.size :], *blobs])) != checksum:
                return
            try:
                batches = [
                    pa.ipc.read_record_batch(pa.py_buffer(blob), schema(table))
                    for blob, table in zip(blobs, TABLES, strict=True)
                ]
                for batch in batches:
                    batch.validate(full=True)
                    if any(column.null_count for column in batch.columns):
                        return
            except pa.ArrowException:
                return
            yield Record(round_index, (batches[0], batches[1], batches[2])), file.tell()


class Journal:
    """The journal of a run that is going on, open for appending."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("ab", buffering=0)
        self._synced = time.monotonic()

    def append(self, record: Record) -> None:
        """Hand a record over; a write that the disk refuses leaves the journal as it was.

        Raises:
            OSError: if the disk refuses.
        """
        data = encode(record)
        before = self._file.tell()
        try:
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
        except OSError:
            self._file.truncate(before)
            raise
        if time.monotonic() - self._synced > SYNC_EVERY_S:
            self.sync()

    def sync(self) -> None:
        """Flush to the disk."""
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def close(self) -> None:
        """Flush and close; may be called twice."""
        if not self._file.closed:
            try:
                self.sync()
            finally:
                self._file.close()
