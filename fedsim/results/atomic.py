"""Files that are either there whole or not there at all.

Everything that a run directory holds, its append-only journal excepted, is written to a temporary
sibling, flushed to the disk, and moved into place in one step. A crash leaves the old file or the
new one, and at worst a ``.name.pid.tmp`` that :func:`sweep` removes.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def sync_dir(path: Path) -> None:
    """Flush a directory's own entries to the disk, where the platform can do that."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; on success it is flushed and becomes ``path``.

    Raises:
        OSError: if the disk refuses; ``path`` is then as it was and no temporary file is left.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_dir(path.parent)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file in one step."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a whole UTF-8 text file in one step, with newlines as given."""
    write_bytes(path, text.encode("utf-8"))


def finite(value: Any) -> Any:
    """``value`` ready for strict JSON: numpy scalars as Python's, non-finite numbers as None."""
    if isinstance(value, Mapping):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if hasattr(value, "item"):
        return finite(value.item())
    number = float(value)
    return number if math.isfinite(number) else None


def write_json(path: Path, value: Any) -> None:
    """Write strict JSON, indented, keys in the order given; NaN and infinities become null."""
    write_text(path, json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def is_temporary(name: str) -> bool:
    """Whether a file of that name is one that a crash left half-written."""
    return name.startswith(".") and name.endswith(".tmp")


def sweep(directory: Path, shared: bool = False) -> None:
    """Remove temporary files that a crash left in ``directory``.

    Args:
        directory: where.
        shared: whether others may be writing there now; files of living processes are then left alone.
    """
    for leftover in directory.glob(".*.tmp"):
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
