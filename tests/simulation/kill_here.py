"""Runs the fedsim command and kills the process at one exact moment of its work on files.

    python kill_here.py DIRECTORY MOMENT ARGUMENT...

MOMENT is ``op:N`` (just before the N-th file operation in DIRECTORY: opening for writing, renaming,
removing, making a folder), ``round:N`` (when the N-th round is written, and not yet committed),
``file:N`` (when half of the N-th text or JSON file is written), ``tidy:N`` (just before the N-th operation
after ``summary.json`` is there) or ``count:FILE`` (never; the number of operations is written to FILE).
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

OPERATIONS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(directory: str, moment: str, arguments: list[str]) -> None:
    kind, _, value = moment.partition(":")
    done = 0

    def hook(event: str, details: tuple[object, ...]) -> None:
        nonlocal done
        if event == "open":
            path, _, flags = details
            if not isinstance(flags, int) or not flags & (os.O_WRONLY | os.O_RDWR):
                return
        elif event not in OPERATIONS:
            return
        else:
            path = details[0]
        if kind == "tidy" and not Path(directory, "summary.json").exists():
            return
        if isinstance(path, str | bytes | os.PathLike) and os.fsdecode(path).startswith(directory):
            done += 1
            if kind in ("op", "tidy") and done == int(value):
                die()

    sys.addaudithook(hook)
    if kind in ("round", "file"):
        from fedsim import files
        from fedsim.results.store import Store

        left = int(value)
        add_round, replacing = Store.add, files.replacing

        def add(self, index, tables):
            nonlocal left
            left -= 1
            if not left:
                self._db.execute("PRAGMA cache_size = 1")  # nothing waits in memory for the end
                self._db.set_trace_callback(lambda said: die() if said.startswith("COMMIT") else None)
            add_round(self, index, tables)

        def write_bytes(path: Path, data: bytes) -> None:
            nonlocal left
            left -= 1
            with replacing(path) as temporary:
                temporary.write_bytes(data if left else data[: len(data) // 2])
                if not left:
                    die()

        if kind == "round":
            Store.add = add
        else:
            files.write_bytes = write_bytes
    from fedsim.cli import main as command

    try:
        command(arguments)
    finally:
        if kind == "count":
            Path(value).write_text(str(done))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
