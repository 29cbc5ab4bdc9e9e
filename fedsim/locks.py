"""What a process holds while it works, and the system takes back when it dies: locks and scratch folders.

Both are advisory locks of the operating system (``flock``), so nothing is left to clear by hand
after a crash. Where there are none (Windows, some network file systems) work goes on without.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fedsim.errors import RunError

if sys.platform != "win32":
    import fcntl

_LONGEST = 200


def _taken(handle: int, wait: bool = False) -> bool:
    """Take the lock of an open file or folder; False if another process has it."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _is_at(handle: int, path: Path) -> bool:
    """Whether what is open is still what lies at the path."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


class Lock:
    """Holds a directory for one process, by a file that says which.

    Args:
        file: the file that is locked; made, and removed by :meth:`close`.
        directory: what is held, for the message.

    Raises:
        RunError: if another process holds it, saying which.
        OSError: if the file cannot be made.
    """

    def __init__(self, file: Path, directory: Path) -> None:
        self._path = file
        while True:
            self._file = file.open("a+", encoding="utf-8", errors="replace")
            if not _taken(self._file.fileno()):
                self._file.seek(0)
                said = self._file.read(_LONGEST)
                self._file.close()
                raise RunError(
                    f"is being written by another process{f' ({said})' if said else ''}; "
                    "wait for it or stop it",
                    file=directory,
                )
            if _is_at(self._file.fileno(), file):
                break
            self._file.close()  # its holder let go, and removed it, after we had opened it
        with contextlib.suppress(OSError):  # a full disk: the lock holds, and says nothing
            self._file.truncate(0)
            self._file.write(f"{os.getpid()}: {shlex.join(['fedsim', *sys.argv[1:]])}"[:_LONGEST])
            self._file.flush()

    def close(self) -> None:
        """Let go; may be called twice."""
        if not self._file.closed:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self._file.close()


def remove_abandoned(folder: Path, prefix: str) -> None:
    """Remove scratch folders whose process is gone."""
    if sys.platform == "win32":  # nobody can tell
        return
    for entry in folder.iterdir():
        if not entry.name.startswith(prefix) or entry.is_symlink():
            continue
        with contextlib.suppress(OSError):
            handle = os.open(entry, os.O_RDONLY | os.O_DIRECTORY)
            try:
                if os.fstat(handle).st_uid == os.getuid() and _taken(handle):
                    shutil.rmtree(entry, ignore_errors=True)
            finally:
                os.close(handle)


@contextlib.contextmanager
def scratch(folder: Path, prefix: str) -> Iterator[Path]:
    """A temporary folder in ``folder``; what it holds at the end goes, and so does what crashes left.

    It may be moved away meanwhile, to become something that stays.

    Raises:
        OSError: if it cannot be made.
    """
    remove_abandoned(folder, prefix)
    while True:
        work = Path(tempfile.mkdtemp(prefix=prefix, dir=folder))
        if sys.platform == "win32":
            handle = -1
            break
        handle = os.open(work, os.O_RDONLY)
        _taken(handle, wait=True)
        if _is_at(handle, work):
            break
        os.close(handle)  # somebody took it for abandoned before it was locked
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if handle >= 0:
            os.close(handle)
