"""Runs a command and watches it: how long, how much memory at its peak and over time, how many files."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

EVERY_S = 0.1


@dataclass
class Watched:
    """What a process used; sizes are its resident bytes, in order of time."""

    ended: bool = True
    seconds: float = 0.0
    resident_bytes: list[int] = field(default_factory=list)
    open_files: list[int] = field(default_factory=list)

    @property
    def peak_bytes(self) -> int:
        """The largest size that was seen."""
        return max(self.resident_bytes)

    def quarters_bytes(self, warm_up: float = 0.2) -> list[float]:
        """Median size in each quarter of what comes after the warm-up, a share of all samples."""
        sizes = np.array(self.resident_bytes[int(warm_up * len(self.resident_bytes)) :])
        return [float(np.median(part)) for part in np.array_split(sizes, 4)]


def fedsim(*arguments: str | Path, cwd: Path, kill_when: Callable[[], bool] = lambda: False) -> Watched:
    """``fedsim`` with these arguments, as a user would type it, to its good end or until it is killed."""
    seen, began = Watched(), time.monotonic()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (cwd / "output.txt").open("w+", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "fedsim", *map(str, arguments)],
            cwd=cwd, env=environment, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            while process.poll() is None and seen.ended:
                _sample(process.pid, seen)
                seen.ended = not kill_when()
                time.sleep(EVERY_S)
        finally:
            process.kill()
            process.wait()
        seen.seconds = time.monotonic() - began
        output.seek(0)
        assert process.returncode == 0 or not seen.ended, output.read()[-2000:]
    return seen


def _sample(pid: int, seen: Watched) -> None:
    try:
        process = psutil.Process(pid)
        size, files = process.memory_info().rss, process.num_fds()
    except psutil.NoSuchProcess:
        return
    if size:
        seen.resident_bytes.append(size)
        seen.open_files.append(files)


def folder_bytes(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def megabytes(*sizes: float) -> str:
    """Sizes for a table."""
    return ", ".join(f"{size / 1e6:,.1f}" for size in sizes) + " MB"


def table(title: str, rows: dict[str, object]) -> str:
    """Figures as lines, for the log of the tests."""
    width = max(map(len, rows))
    return "\n".join([f"\n\n{title}", *(f"  {name:<{width}}  {value}" for name, value in rows.items()), ""])
