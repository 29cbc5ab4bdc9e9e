"""The door for files that somebody else may have made: each is read whole, or one sentence says why not.

Whatever a path leads to (a folder, a pipe, a device, a loop of links, a gigabyte of zeros, text in
another encoding, JSON nested ten thousand deep), nothing here blocks, fills the memory or raises
anything but the error that the caller names. Nothing that is read is ever executed or unpickled.

And the one way in which files are written: to a temporary sibling, flushed to the disk, and moved
into place in one step. A crash leaves the old file or the new one, and at worst a ``.name.pid.tmp``
that :func:`remove_temporary` takes away.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fedsim.errors import InputError
from fedsim.words import slashes

MB = 1_000_000
MOST_JSON_BYTES = 32 * MB
"""JSON grows up to twenty times in memory, when it is all empty lists."""

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # half a character, or half of a pair
Error = type[InputError]
Hook = Callable[[dict[str, Any]], Any]


def size_of(path: Path, error: Error, most_bytes: int) -> int:
    """The size of a regular file, links followed.

    Raises:
        InputError: (of kind ``error``) if there is none that can be read, or it is larger than that.
    """
    try:
        found = path.stat()
    except (OSError, ValueError, RuntimeError) as fault:  # ValueError: a NUL in the name
        raise error(f"cannot be read: {_reason(fault)}", file=path) from None
    if not stat.S_ISREG(found.st_mode):
        what = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe, socket or device"
        raise error(f"cannot be read: it is {what}, not a file", file=path)
    if found.st_size > most_bytes:
        raise error(
            f"is too large: {found.st_size / MB:,.0f} MB where {most_bytes / MB:,g} MB is the most",
            file=path,
        )
    return found.st_size


def refuse_links(folder: Path, error: Error, depth: int = 2) -> None:
    """Refuse a directory with a link out of it, or a pipe: nothing elsewhere is read, written or awaited.

    Args:
        folder: a run or sweep directory.
        error: the kind of error to raise.
        depth: how many levels of folders are looked through.

    Raises:
        InputError: (of kind ``error``) naming the link.
    """
    root = folder.resolve()
    levels = [folder]
    for _ in range(depth):
        found = [entry for level in levels for entry in _entries(level, error)]
        for entry in found:
            if not (entry.is_file() or entry.is_dir() or entry.is_symlink()):
                raise error("is a pipe, socket or device; it does not belong here", file=entry.path)
            if entry.is_symlink() and not Path(entry).resolve().is_relative_to(root):
                said = "is a link that leads out of this directory; put the file itself there"
                raise error(said, file=entry.path)
        levels = [Path(entry) for entry in found if entry.is_dir()]


def _entries(folder: Path, error: Error) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError as fault:
        raise error(f"cannot be read: {_reason(fault)}", file=folder) from None


def read_text(path: Path, error: Error, most_bytes: int) -> str:
    """A UTF-8 text file, with or without a byte order mark, newlines as they are.

    Raises:
        InputError: (of kind ``error``) if it cannot be read, is too large, or is not UTF-8 text.
    """
    size_of(path, error, most_bytes)
    try:
        raw = path.read_bytes()
    except OSError as fault:
        raise error(f"cannot be read: {_reason(fault)}", file=path) from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise error("is not UTF-8 text", file=path) from None
    if "\0" in text:
        raise error("is not text: it holds zero bytes", file=path)
    return text


def lines(path: Path, error: Error, most_bytes: int, longest: int = MB) -> Generator[str, None, None]:
    """The lines of a UTF-8 text file one by one, with their ends: a large table, in little memory.

    Whoever may stop before the last line closes it.

    Raises:
        InputError: (of kind ``error``) as :func:`read_text`, or if a line is longer than ``longest``.
    """
    size_of(path, error, most_bytes)
    try:
        with path.open("rb") as file:
            number = 0
            while raw := file.readline(longest + 1):
                number += 1
                where = f"line {number}"
                if len(raw) > longest:
                    raise error(f"is longer than {longest / MB:g} MB", file=path, key=where)
                try:
                    text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError:
                    raise error("is not UTF-8 text", file=path, key=where) from None
                if "\0" in text:
                    raise error("is not text: it holds zero bytes", file=path, key=where)
                yield text
    except OSError as fault:
        raise error(f"cannot be read: {_reason(fault)}", file=path) from None


def read_json(
    path: Path,
    error: Error,
    most_bytes: int = MOST_JSON_BYTES,
    *,
    finite: bool = True,
    hook: Hook | None = None,
) -> Any:
    """What a JSON file says.

    Args:
        path: the file.
        error: the kind of error to raise.
        most_bytes: a larger file is not read.
        finite: refuse ``NaN`` and ``Infinity``, which JSON does not know.
        hook: what to make of each object.

    Raises:
        InputError: (of kind ``error``) if it cannot be read, is too large, or is not JSON.
    """
    return parse_json(read_text(path, error, most_bytes), path, error, finite=finite, hook=hook)


def parse_json(
    text: str, path: str | Path, error: Error, *, finite: bool = True, hook: Hook | None = None
) -> Any:
    """What JSON text says; see :func:`read_json`."""

    def no_number(word: str) -> Any:
        raise ValueError(f"{word} is not a number in JSON")

    def once(pairs: list[tuple[str, Any]]) -> Any:
        found = dict(pairs)
        if len(found) != len(pairs):
            twice = next(key for i, (key, _) in enumerate(pairs) if any(key == k for k, _ in pairs[:i]))
            raise ValueError(f"the key {twice!r} is given twice")
        return found if hook is None else hook(found)

    try:
        found = json.loads(text, parse_constant=no_number if finite else None, object_pairs_hook=once)
        if _SURROGATE.search(text):
            json.dumps(found, ensure_ascii=False, default=str).encode("utf-8")
        return found
    except RecursionError:
        raise error(
            "is damaged: it is not valid JSON that can be read: it is nested too deep", file=path
        ) from None
    except (ValueError, OverflowError) as fault:
        raise error(f"is damaged: it is not valid JSON: {fault}", file=path) from None


def _reason(fault: Exception) -> str:
    said = [(getattr(fault, "strerror", None) or str(fault)).strip()]
    if isinstance(fault, FileNotFoundError):
        said.append(slashes(fault.filename))
    return "; ".join(filter(None, said))


def sha256(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal text.

    Raises:
        InputError: if the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as fault:
        raise InputError(f"cannot be read: {_reason(fault)}", file=path) from None
    return digest.hexdigest()


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; on success it is flushed and becomes ``path``.

    Raises:
        OSError: if the disk refuses; ``path`` is then as it was and no temporary file is left.
    """
    temporary = _temporary(path)
    try:
        yield temporary
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_dir(path.parent)


def _sync_dir(path: Path) -> None:
    """Flush a directory's own entries to the disk, where the platform can do that."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file in one step.

    Raises:
        OSError: if the disk refuses.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a whole UTF-8 text file in one step, with newlines as given."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write strict JSON, indented, keys in the order given; NaN and infinities become null."""
    write_text(path, json.dumps(json_ready(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def json_ready(value: Any) -> Any:
    """``value`` ready for strict JSON: numpy scalars as Python's, non-finite numbers as None."""
    if isinstance(value, Mapping):
        return {str(k): json_ready(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_ready(v) for v in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if hasattr(value, "item"):
        return json_ready(value.item())
    number = float(value)
    return number if math.isfinite(number) else None


def try_to_write(path: Path, size_bytes: int = 0) -> None:
    """See whether so many bytes could be written to ``path``; it stays as it is, and nothing is left.

    Raises:
        OSError: if the disk refuses.
    """
    remove_temporary(path.parent, path.name, shared=True)
    temporary = _temporary(path)
    try:
        with temporary.open("wb") as file:
            for start in range(0, size_bytes, MB):
                file.write(bytes(min(MB, size_bytes - start)))
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def is_temporary(name: str) -> bool:
    """Whether a file of that name is one that a crash left half-written."""
    return name.startswith(".") and name.endswith(".tmp")


def remove_temporary(directory: Path, name: str = "*", *, shared: bool = False) -> None:
    """Remove what a crash left half-written in ``directory``.

    Args:
        directory: where.
        name: of the file that was being written, or a pattern.
        shared: whether others may be writing there now; files of living processes are then left alone.
    """
    for leftover in directory.glob(f".{name}.*tmp"):
        if not (shared and _is_being_written(leftover.name)):
            leftover.unlink(missing_ok=True)


def _is_being_written(name: str) -> bool:
    process = name.split(".")[-2]
    if not process.isdigit() or int(process) == os.getpid():
        return False
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
