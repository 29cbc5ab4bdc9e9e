"""A small machine of its own for each experiment: a cache, a folder for temporary files, and fedsim in it.

Commands run as a user's do, in processes of their own. Afterwards the machine can say what is still
there of them: processes (known by a mark in their environment), shared memory, temporary files.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil

PATIENCE_S = 900.0
_LOOK_EVERY_S = 0.02
_SHM = Path("/dev/shm")


@dataclass
class Said:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str
    cpu_s: float = 0.0

    @property
    def command(self) -> list[str]:
        """The command by which to go on, as the last line of the message gives it, without its first word."""
        found = re.search(r"(?:go on with|make its report with|start it again with): fedsim (.+)$", self.last)
        assert found, self.err
        return shlex.split(found[1])

    @property
    def last(self) -> str:
        """The last line of standard error."""
        lines = self.err.strip().splitlines()
        return lines[-1] if lines else ""


@dataclass
class Going:
    """A command that is going on."""

    process: subprocess.Popen
    folder: Path
    number: int
    _children_s: float = field(default_factory=lambda: _children_cpu_s())

    @property
    def pid(self) -> int:
        return self.process.pid

    def over(self) -> bool:
        return self.process.poll() is not None

    def family(self) -> list[int]:
        """The process and its descendants."""
        found = [self.pid]
        for pid in found:  # which grows meanwhile
            for file in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    found += [int(child) for child in file.read_text().split()]
        return found

    def cpu_s(self) -> float:
        """CPU time that it and its descendants have used so far."""
        ticks = 0
        for pid in self.family():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += sum(map(int, fields[11:15]))  # its own, and of children that have ended
        return ticks / os.sysconf("SC_CLK_TCK")

    def wait_for(self, what) -> bool:
        """Wait until ``what()`` is true; False if the command ended before."""
        until = time.monotonic() + PATIENCE_S
        while not what():
            if self.over():
                return False
            assert time.monotonic() < until, "it takes too long"
            time.sleep(_LOOK_EVERY_S)
        return True

    def signal(self, *numbers: int, group: bool = True, pause_s: float = 0.05) -> None:
        """Send signals one after another, to everybody of its terminal or to it alone."""
        for position, number in enumerate(numbers):
            if position:
                time.sleep(pause_s)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number) if group else os.kill(self.pid, number)

    def end(self) -> Said:
        """Wait for its end."""
        try:
            code = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self.process.wait()
            raise
        out, err = ((self.folder / f"{name}-{self.number}").read_text() for name in ("out", "err"))
        assert "Traceback" not in err, err
        return Said(code, out, err, _children_cpu_s() - self._children_s)


def _as_on_a_terminal(limit) -> None:
    """In a new process: hear signals, though these tests may run where they are ignored (nohup, ``&``)."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    if limit is not None:
        limit()


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Machine:
    """See the module.

    Args:
        folder: an empty one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = uuid.uuid4().hex
        self.cache, self.temp, self.said = folder / "cache", folder / "tmp", folder / "said"
        for place in (self.cache, self.temp, self.said):
            place.mkdir(parents=True)
        self.environment = {
            **os.environ,
            "FEDSIM_CACHE": str(self.cache),
            "TMPDIR": str(self.temp),
            "OMP_NUM_THREADS": "1",
            "FEDSIM_FAULTS_MARK": self.mark,
        }
        self._shared = _in_shared_memory()
        self._number = 0

    def start(self, *arguments, program: Path | None = None, limit=None, **environment: str) -> Going:
        """Start ``fedsim ARGUMENT...``, or a Python program that acts as it."""
        self._number += 1
        first = [sys.executable, *(["-m", "fedsim"] if program is None else [str(program)])]
        with (
            (self.said / f"out-{self._number}").open("wb") as out,
            (self.said / f"err-{self._number}").open("wb") as err,
        ):
            process = subprocess.Popen(
                [*first, *map(str, arguments)],
                env={**self.environment, **environment},
                cwd=self.folder,
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                preexec_fn=partial(_as_on_a_terminal, limit),
            )
        return Going(process, self.said, self._number)

    def run(self, *arguments, code: int = 0, **options) -> Said:
        """Run a command to its end, which must be this exit code."""
        said = self.start(*arguments, **options).end()
        assert said.code == code, (arguments, said)
        return said

    def nobody_left(self) -> None:
        """No process, no shared memory and no temporary file of this machine is there any more."""
        until = time.monotonic() + 60
        while (left := self._processes()) and time.monotonic() < until:
            time.sleep(0.1)
        assert not left, f"processes that outlived their command: {left}"
        shared = _in_shared_memory() - self._shared - _held_by_others()
        assert not shared, f"shared memory that outlived its process: {shared}"

    def nothing_left(self) -> None:
        """Nor is there a temporary file."""
        self.nobody_left()
        left = [p for p in self.temp.iterdir() if not p.name.startswith("torchinductor_")]  # PyTorch's cache
        left += self.cache.rglob(".*")
        left += [p for p in self.folder.rglob(".*") if p.name.endswith(".tmp") and p.is_file()]
        left += [*self.folder.rglob("parts"), *self.folder.rglob("points/lock")]
        assert not left, f"temporary files that nobody removed: {left}"

    def _processes(self) -> list[str]:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                ours = process.pid != os.getpid() and process.environ().get("FEDSIM_FAULTS_MARK") == self.mark
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(f"{process.pid} {' '.join(process.cmdline())[:120]}")
        return found


def _in_shared_memory() -> set[str]:
    return {path.name for path in _SHM.iterdir()} if _SHM.is_dir() else set()


def _held_by_others() -> set[str]:
    """Names in shared memory that a living process has open or mapped."""
    held = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for line in (entry / "maps").read_text().splitlines():
                if "/dev/shm/" in line:
                    held.add(line.rpartition("/dev/shm/")[2].split()[0])
            for handle in (entry / "fd").iterdir():
                with contextlib.suppress(OSError):
                    target = str(handle.readlink())
                    if target.startswith("/dev/shm/"):
                        held.add(target.removeprefix("/dev/shm/").split()[0])
    return held


def content(directory: Path) -> dict[str, object]:
    """Every file of a run or sweep by its path; of a manifest and a ``sweep.json`` what is to be the same.

    Reports aside: they say how long it took.
    """
    files: dict[str, object] = {}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if not path.is_file() or path.suffix in (".html", ".png") or path.name == "timeline.json":
            continue
        if path.name in ("manifest.json", "sweep.json"):
            held = json.loads(path.read_text())
            held.pop("volatile", None)
            files[name] = held
        else:
            files[name] = path.read_bytes()
    return files


def same(directory: Path, wanted: dict[str, object]) -> None:
    """A directory holds exactly that."""
    found = content(directory)
    assert sorted(found) == sorted(wanted)
    for name, data in wanted.items():
        assert found[name] == data, f"{directory / name} is not as in an undisturbed run"
