"""Disks that are full or may not be written, and two commands that want the same directory."""

from __future__ import annotations

import resource
import signal
import time

import pytest

from .machine import content, same
from .test_faults_killed import DATA, SMALL_CALIBRATE

SWEEP = ("--quiet", "--workers", "1", "--no-cache")
FULL, READ_ONLY = "No space left on device", "Read-only file system"


def one_sentence(said, *parts):
    assert said.err.strip().count("\n") == 0, said.err
    for part in parts:
        assert part in said.last, said


def filled_and_gone_on_with(machine, trying, disk, verb, scenario, options, sizes):
    """A disk that is full after so many bytes; then it has room, and the command goes on as it was told."""
    machine.run(verb, scenario, "--out", "whole", *options)
    wanted = content(machine.folder / "whole")
    for size in sizes:
        with trying(f"full disk: {verb}{' with learning' if 'learn' in scenario else ''}", 1) as seen:
            small = disk(size)
            out = small.path / "out"
            said = machine.run(verb, scenario, "--out", out, *options, code=1)
            one_sentence(said, "fedsim: ", FULL)
            machine.nobody_left()
            assert not list(small.path.rglob(".*.tmp"))
            small.resize("200m")
            seen.compared += 1
            if "go on with" in said.last:
                assert said.command == [verb, "--resume", str(out)]
                machine.run(*said.command, *options)
            else:
                machine.run(verb, scenario, "--out", out, *options)
            same(out, wanted)
            machine.nothing_left()
            seen.equal += 1


def test_a_disk_that_fills_under_a_run(machine, trying, disk):
    filled_and_gone_on_with(machine, trying, disk, "run", "clock.yaml", DATA, ["60k"])


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("verb", "scenario", "options", "sizes"),
    [
        ("run", "clock.yaml", DATA, ["8k", "20k", "40k"]),
        ("run", "learn.yaml", DATA, ["6m", "20m", "27m"]),
        ("sweep", "sweep.yaml", SWEEP, ["16k", "100k", "220k"]),
    ],
    ids=["run", "learning", "sweep"],
)
def test_a_disk_that_fills(machine, trying, disk, verb, scenario, options, sizes):
    filled_and_gone_on_with(machine, trying, disk, verb, scenario, options, sizes)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_full_disk_under_the_rest(machine, trying, disk):
    """The cache of a corpus, a trace, a device file, a report, standard output."""
    with trying("full disk: corpus, trace, calibrate, report, output") as seen:
        small = disk("1m")
        args = ("run", "learn.yaml", "--out", "learnt", *DATA)
        one_sentence(machine.run(*args, code=2, FEDSIM_CACHE=str(small.path / "cache")), FULL)
        assert not (machine.folder / "learnt").exists()
        assert not list(small.path.rglob("*.i16"))
        seen.tried += 1
        tiny = disk("4k")
        said = machine.run("trace", "--config", "model.json", "--out", tiny.path, code=1)
        one_sentence(said, FULL)
        seen.tried += 1
        args = ("calibrate", "--minutes", "0.01", "--out", tiny.path / "host.yaml")
        one_sentence(machine.run(*args, program=SMALL_CALIBRATE, code=2), FULL)
        seen.tried += 1
        machine.run("run", "clock.yaml", "--out", "done", *DATA)
        one_sentence(machine.run("report", "done", "--out", tiny.path, code=1), FULL)
        assert not [path for path in tiny.path.rglob("*") if path.is_file() and path.name.startswith(".")]
        seen.tried += 1
        machine.nothing_left()


@pytest.mark.slow
def test_a_file_that_may_not_grow(machine, trying):
    """The limit of a user, where no small disk can be had: what is written of a round is undone."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        # SQLite's shared memory alone takes 32,768 bytes; the log grows beyond the limit after some rounds
        resource.setrlimit(resource.RLIMIT_FSIZE, (64_000, 64_000))

    machine.run("run", "clock.yaml", "--out", "whole", *DATA)
    with trying("file size limit: run", 1) as seen:
        said = machine.run("run", "clock.yaml", "--out", "cut", *DATA, code=1, limit=limit)
        one_sentence(said, "File too large", "go on with: fedsim run --resume cut")
        seen.compared += 1
        machine.run(*said.command, *DATA)
        same(machine.folder / "cut", content(machine.folder / "whole"))
        seen.equal += 1


def test_a_directory_that_may_not_be_written(machine, trying, disk):
    with trying("read-only directory: run", 1):
        locked = disk("1m")
        locked.read_only()
        said = machine.run("run", "clock.yaml", "--out", locked.path / "out", *DATA, code=2)
        one_sentence(said, str(locked.path / "out"), READ_ONLY)
        assert "go on with" not in said.last


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_directories_that_may_not_be_written(machine, trying, disk):
    locked = disk("60m")
    machine.run("run", "clock.yaml", "--out", "whole", *DATA)
    going = machine.start("run", "clock.yaml", "--out", locked.path / "cut", *DATA)
    assert going.wait_for((locked.path / "cut" / "parts" / "rounds.sqlite").exists)
    going.signal(signal.SIGKILL)
    going.end()
    machine.run("sweep", "sweep.yaml", "--out", locked.path / "sweep", *SWEEP)
    locked.read_only()
    out = locked.path / "out"
    machine.run("report", locked.path / "cut", "--out", "seen")
    with trying("read-only directory: sweep, trace, calibrate, report, cache, resume") as seen:
        for said in (
            machine.run("sweep", "sweep.yaml", "--out", out, *SWEEP, code=2),
            machine.run("trace", "--config", "model.json", "--out", out, code=2),
            machine.run("calibrate", "--out", locked.path / "host.yaml", code=2),
            machine.run("run", "learn.yaml", "--out", "a", *DATA, code=2, FEDSIM_CACHE=str(out)),
            machine.run("run", "--resume", locked.path / "cut", *DATA, code=2),
            machine.run("sweep", "--resume", locked.path / "sweep", *SWEEP, code=2),
            machine.run("report", "whole", "--out", out, code=2),
        ):
            one_sentence(said, str(locked.path), READ_ONLY)
            seen.tried += 1
        assert not (machine.folder / "a").exists()
        locked.resize("60m")
        seen.compared += 1
        machine.run("run", "--resume", locked.path / "cut", *DATA)
        same(locked.path / "cut", content(machine.folder / "whole"))
        seen.equal += 1
        machine.nothing_left()


def test_a_directory_that_another_run_is_writing(machine, trying):
    """The second is told who; when the first is killed, its lock is in nobody's way."""
    with trying("two runs into one directory", 2):
        first = machine.start("run", "long.yaml", "--out", "both", *DATA)
        assert first.wait_for((machine.folder / "both" / "parts" / "rounds.sqlite").exists)
        for arguments in (("run", "clock.yaml", "--out", "both"), ("run", "--resume", "both")):
            said = machine.run(*arguments, *DATA, code=2)
            one_sentence(
                said, f"being written by another process ({first.pid}: fedsim run long.yaml --out both"
            )
        first.signal(signal.SIGKILL)
        first.end()
        again = machine.start("run", "--resume", "both", *DATA)
        lock = machine.folder / "both" / "parts" / "lock"
        assert again.wait_for(lambda: f"{again.pid}: " in lock.read_text())
        again.signal(signal.SIGINT)
        assert again.end().code == 130


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_runs_that_begin_at_once_in_one_directory(machine, trying, draw):
    """Whoever comes second is refused, and the first is as if it had been alone; also in a sweep."""
    for verb, scenario, options in (("run", "clock.yaml", DATA), ("sweep", "sweep.yaml", SWEEP)):
        machine.run(verb, scenario, "--out", f"whole-{verb}", *options)
        wanted = content(machine.folder / f"whole-{verb}")
        for number in range(4):
            with trying("two at once into one directory", 1) as seen:
                out = machine.folder / f"both-{verb}-{number}"
                pair = []
                for _ in range(2):
                    pair.append(machine.start(verb, scenario, "--out", out, *options))
                    time.sleep(draw.choice((0.0, 0.1)))
                said = sorted((going.end() for going in pair), key=lambda one: one.code)
                assert [one.code for one in said] == [0, 2], said
                one_sentence(said[1], str(out))
                seen.compared += 1
                same(out, wanted)
                machine.nothing_left()
                seen.equal += 1
