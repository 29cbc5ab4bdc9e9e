"""What a process holds while it works, and the system takes back when it dies: locks and scratch folders.

Both are advisory locks of the operating system, taken by filelock, so nothing is left to clear by hand
after a crash. Where there are none (some network file systems) work goes on without. What is ours here
is who is named to the one who comes second, and folders that are locked themselves, so that they may
be moved while they are held.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout, lock_descriptor

from fedsim.errors import RunError

_LONGEST = 200
_PATIENCE_S = 0.1
"""Long enough for a holder that is letting go."""

_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What a file system without locks says."""


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
        self._lock = FileLock(file, timeout=_PATIENCE_S, poll_interval=_PATIENCE_S / 4)
        try:
            self._lock.acquire()
        except Timeout:
            said = ""
            with contextlib.suppress(OSError):
                said = file.read_text(encoding="utf-8", errors="replace")[:_LONGEST]
            raise RunError(
                f"is being written by another process{f' ({said})' if said else ''}; wait for it or stop it",
                file=directory,
            ) from None
        except OSError as fault:
            if fault.errno not in _NO_LOCKS:
                raise
        with contextlib.suppress(OSError):  # a full disk: the lock holds, and says nothing
            said = f"{os.getpid()}: {shlex.join(['fedsim', *sys.argv[1:]])}"
            file.write_text(said[:_LONGEST], encoding="utf-8", errors="replace")

    def close(self) -> None:
        """Let go; may be called twice."""
        if self._lock.is_locked:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self._lock.release()


def _taken(handle: int, wait: bool = False) -> bool:
    """Take the lock of an open folder; False if another process has it."""
    try:
        return lock_descriptor(handle, blocking=wait)
    except OSError:  # a file system without locks
        return True


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
        if work.exists():
            break
        os.close(handle)  # somebody took it for abandoned before it was locked
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if handle >= 0:
            os.close(handle)
