"""The rounds of a run that goes on, in one SQLite database, so that a killed run loses none of them.

``parts/rounds.sqlite`` has a table for each table of the run directory. Its rows hold a round, or a
piece of a large one: the rows of the final file as packed little-endian numbers
(:func:`fedsim.results.tables.layout`; null is ``MISSING``) with a checksum; words stand once, in a table
of their own. A
round is one transaction, written to the log (WAL) that SQLite keeps beside the database. It is handed
to the operating system as soon as the round is finished, so it survives the death of the process; it is
flushed to the disk at most every two seconds, so that fast rounds stay fast. Others read meanwhile.

A directory may come from anybody: a database that holds anything but these tables is refused, and
nothing in it is executed or unpickled.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fedsim import files
from fedsim.errors import RunError
from fedsim.missing import is_missing
from fedsim.results.columns import TABLES
from fedsim.results.tables import NULLABLE, TEXT, Columns, Words, layout

#: A round's position before the first one: the evaluation of the initial model.
INITIAL = -1
#: Rows of a piece, and about as many of what is read at a time.
PIECE_ROWS = 1 << 16
SYNC_EVERY_S = 2.0
#: Pages of the log that are moved into the database at a time.
LOG_PAGES = 4000

_MOST_BYTES = 1 << 40
_PIECES = 1 << 16  # a piece's key is its round times this, and its place in the round
_SCHEMA = {table: f"CREATE TABLE {table} (piece INTEGER PRIMARY KEY, crc, packed)" for table in TABLES} | {
    "words": "CREATE TABLE words (code INTEGER PRIMARY KEY, crc, word)"
}


def file(directory: Path) -> Path:
    """Where the rounds of the unfinished run in ``directory`` lie."""
    return directory / "parts" / "rounds.sqlite"


def _check(key: int, content: bytes) -> int:
    return zlib.crc32(content, key & 0xFFFFFFFF)


@contextmanager
def _sound(path: Path) -> Iterator[None]:
    """Whatever is wrong with a database that is read is one sentence."""
    try:
        yield
    except sqlite3.OperationalError as fault:
        raise RunError(f"cannot be read: {fault}", file=path) from None
    except (sqlite3.Error, pa.ArrowException, ValueError, TypeError, IndexError, OverflowError):
        raise RunError("is damaged; this run cannot be read or continued", file=path) from None


def _hold_to_schema(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("PRAGMA cell_size_check = ON")
    if dict(db.execute("SELECT name, sql FROM sqlite_master").fetchall()) != _SCHEMA:
        raise ValueError("the database holds other tables")


def _words(db: sqlite3.Connection) -> list[str]:
    """The words, by their codes."""
    found = db.execute("SELECT code, crc, word FROM words ORDER BY code").fetchall()
    for place, (code, crc, word) in enumerate(found):
        if code != place or crc != _check(code, str(word).encode("utf-8")):
            raise ValueError("a word is not as it was written")
    return [word for *_, word in found]


@contextmanager
def _opened(directory: Path) -> Iterator[sqlite3.Connection]:
    path = file(directory)
    files.size_of(path, RunError, _MOST_BYTES)
    journal = path.with_name(f"{path.name}-journal")  # may name any file, and this database never has one
    if journal.exists():
        raise RunError("does not belong here; remove it", file=journal)
    where = f"{path.resolve().as_uri()}?mode=ro"
    if not (os.access(path.parent, os.W_OK) or path.with_name(f"{path.name}-wal").exists()):
        where += "&immutable=1"  # where SQLite cannot put its shared memory; and nobody is writing
    with _sound(path), closing(sqlite3.connect(where, uri=True, isolation_level=None)) as db:
        _hold_to_schema(db)
        yield db


def look(directory: Path) -> None:
    """See whether the rounds of an unfinished run can be read.

    Raises:
        RunError: if they cannot.
    """
    with _opened(directory):
        pass


def read(
    directory: Path, table: str, names: Sequence[str], rounds: tuple[int, int] | None = None
) -> Iterator[pa.RecordBatch]:
    """The stored rows of a table in order, a bounded number at a time; text columns are dictionaries.

    Args:
        directory: of an unfinished run, which another process may be writing.
        table: one of ``TABLES``.
        names: the columns.
        rounds: only the rounds first..last, both included.

    Raises:
        RunError: if the database is missing or damaged.
    """
    first, last = (INITIAL, 1 << 46) if rounds is None else rounds
    with _opened(directory) as db:
        db.execute("BEGIN")  # words and rows of the same moment
        words = _words(db)
        most = PIECE_ROWS * layout(table).itemsize
        found = db.execute(
            f"SELECT piece, crc, CASE WHEN length(packed) <= {most} THEN packed END FROM {table} "
            "WHERE piece BETWEEN ? AND ? ORDER BY piece",
            (first * _PIECES, last * _PIECES + _PIECES - 1),
        )
        held, size = [], 0
        for piece, crc, packed in found:
            if _check(piece, packed) != crc:
                raise ValueError("a piece is not as it was written")
            held.append(packed)
            size += len(packed)
            if size >= most:
                yield _unpacked(held, table, names, words)
                held, size = [], 0
        if size:
            yield _unpacked(held, table, names, words)


def _unpacked(packed: list[bytes], table: str, names: Sequence[str], words: list[str]) -> pa.RecordBatch:
    rows = np.frombuffer(b"".join(packed), layout(table))
    arrays = []
    for name in names:
        values = np.ascontiguousarray(rows[name])
        if name in TEXT[table]:
            used = np.bincount(values, minlength=len(words)) > 0
            said = pa.array([word for word, here in zip(words, used, strict=True) if here], pa.string())
            arrays.append(pa.DictionaryArray.from_arrays(np.cumsum(used, dtype=np.int32)[values] - 1, said))
        else:
            arrays.append(pa.array(values, mask=is_missing(values) if name in NULLABLE[table] else None))
    return pa.RecordBatch.from_arrays(arrays, names=list(names))


class Store:
    """The rounds of a run that this process writes.

    Args:
        directory: the run directory, which this process holds.

    Raises:
        RunError: if the database is damaged.
        OSError: if the disk refuses.
    """

    def __init__(self, directory: Path) -> None:
        self.path = file(directory)
        self._log = self.path.with_name(f"{self.path.name}-wal")
        fresh = not self.path.exists()
        with self._disk():
            self._db = sqlite3.connect(self.path, check_same_thread=False)
            try:
                self._begin(fresh)
            except BaseException:
                self._db.close()
                raise

    def _begin(self, fresh: bool) -> None:
        if not fresh:
            _hold_to_schema(self._db)
        if self._db.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
            raise OSError(errno.ENOTSUP, "this file system has no shared memory for SQLite's log")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
        if fresh:
            with self._db:
                for statement in _SCHEMA.values():
                    self._db.execute(statement)
        self._codes = {word: code for code, word in enumerate(_words(self._db))}
        self._synced = time.monotonic()

    @property
    def last(self) -> int | None:
        """The last round that is stored, or None."""
        with self._disk():
            (found,) = self._db.execute("SELECT max(piece) FROM rounds").fetchone()
        return None if found is None else int(found) // _PIECES

    def add(self, index: int, tables: Mapping[str, Columns]) -> None:
        """Store the next round: the columns of its rows in each table.

        Raises:
            OSError: if the disk refuses; what was stored before is as it was.
        """
        codes = dict(self._codes)
        pieces = [(t, *piece) for t in TABLES for piece in _pieces(index, t, tables[t], codes)]
        with self._disk(sum(len(packed) for *_, packed in pieces)):
            with self._db:
                for word, code in list(codes.items())[len(self._codes) :]:
                    checked = (code, _check(code, word.encode("utf-8")), word)
                    self._db.execute("INSERT INTO words VALUES (?, ?, ?)", checked)
                for table, *piece in pieces:
                    self._db.execute(f"INSERT INTO {table} VALUES (?, ?, ?)", piece)
            self._codes = codes
        if time.monotonic() - self._synced > SYNC_EVERY_S:
            self.sync()

    def cut(self, index: int) -> None:
        """Drop this round and all later ones."""
        with self._disk(), self._db:
            for table in TABLES:
                self._db.execute(f"DELETE FROM {table} WHERE piece >= ?", (index * _PIECES,))

    def sync(self) -> None:
        """Put every stored round on the disk.

        Raises:
            OSError: if the disk refuses.
        """
        with suppress(FileNotFoundError), self._log.open("rb+") as log:
            os.fsync(log.fileno())
        self._synced = time.monotonic()

    def close(self) -> None:
        """Flush and close; may be called twice."""
        self._db.close()

    @contextmanager
    def _disk(self, more_bytes: int = 0) -> Iterator[None]:
        """What SQLite could not write, in the system's own words, which it does not pass on."""
        with _sound(self.path):
            try:
                yield
            except sqlite3.OperationalError as fault:
                size = self._log.stat().st_size if self._log.exists() else 0
                files.try_to_write(self.path, size + more_bytes + PIECE_ROWS)
                raise OSError(errno.EIO, str(fault)) from None


def _pieces(
    index: int, table: str, columns: Columns, codes: dict[str, int]
) -> Iterator[tuple[int, int, bytes]]:
    """Key, checksum and packed rows of each piece; ``codes`` of words that are new are added."""
    size = len(columns[TABLES[table][0].name])
    rows: NDArray[Any] = np.empty(size, layout(table))
    for name, values in columns.items():
        if isinstance(values, Words):
            here = [codes.setdefault(word, len(codes)) for word in values.words]
            rows[name] = np.array(here, dtype=np.int64)[values.codes]
        else:
            rows[name] = values
    whole = rows.tobytes()
    step = PIECE_ROWS * rows.itemsize
    starts = range(0, len(whole), step) or ([0] if table == "rounds" else [])
    for place, start in enumerate(starts):
        piece, packed = index * _PIECES + place, whole[start : start + step]
        yield piece, _check(piece, packed), packed
