"""Workers that are killed, recordings that cannot be read, clocks that jump."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from .machine import content, same
from .test_faults_killed import DATA, TWO

SPAWNED = "multiprocessing.spawn"
SWEEP = ("--quiet", "--workers", "2", "--no-cache")


def workers(going, name):
    """The processes of a command whose command line says ``name``."""
    found = []
    for pid in going.family()[1:]:
        with contextlib.suppress(OSError):
            line = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
            if name in line and "resource_tracker" not in line:
                found.append(pid)
    return found


def kill_one(going, name, draw):
    found = workers(going, name)
    assert found, "there is no worker to kill"
    os.kill(draw.choice(found), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_worker_of_learning_is_killed(machine, trying, draw):
    machine.run("run", "learn.yaml", "--out", "whole", *TWO)
    wanted = content(machine.folder / "whole")
    with trying("killed worker: learning") as seen:
        for rounds_done in (0, 1, 3):
            out = machine.folder / f"cut-{rounds_done}"
            going = machine.start("run", "learn.yaml", "--out", out, *TWO)
            assert going.wait_for((out / "checkpoints" / f"round-{rounds_done:05d}.safetensors").exists)
            kill_one(going, SPAWNED, draw)
            said = going.end()
            seen.tried += 1
            assert said.code == 1, said
            assert said.err.strip().count("\n") == 0, said.err
            assert "a worker process died" in said.last
            assert said.command == ["run", "--resume", str(out)]
            machine.nobody_left()
            seen.compared += 1
            machine.run(*said.command, *TWO)
            same(out, wanted)
            machine.nothing_left()
            seen.equal += 1


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_worker_of_a_sweep_is_killed(machine, trying, draw):
    """The sweep does the point again, and nobody need do anything."""
    machine.run("sweep", "sweep.yaml", "--out", "whole", *SWEEP)
    with trying("killed worker: sweep", 1) as seen:
        going = machine.start("sweep", "sweep.yaml", "--out", "cut", *SWEEP)
        assert going.wait_for(lambda: workers(going, SPAWNED))
        kill_one(going, SPAWNED, draw)
        assert going.end().code == 0
        seen.compared += 1
        same(machine.folder / "cut", content(machine.folder / "whole"))
        machine.nothing_left()
        seen.equal += 1


@pytest.fixture
def on_ray():
    """Options of a sweep on Ray, and a short folder for temporary files: its sockets need short names."""
    pytest.importorskip("ray")
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    yield (*SWEEP, "--executor", "ray"), folder
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_ray_worker_is_killed_and_then_all_of_it(machine, trying, draw, on_ray):
    options, temp = on_ray
    machine.run("sweep", "sweep.yaml", "--out", "whole", *SWEEP)
    wanted = content(machine.folder / "whole")
    with trying("killed worker: sweep on Ray", 1) as seen:
        going = machine.start("sweep", "sweep.yaml", "--out", "cut", *options, TMPDIR=str(temp))
        assert going.wait_for(lambda: workers(going, "ray::do"))
        kill_one(going, "ray::do", draw)
        assert going.end().code == 0
        machine.nobody_left()
        seen.compared += 1
        same(machine.folder / "cut", wanted)
        assert not list(temp.iterdir())
        seen.equal += 1
    with trying("SIGKILL: sweep on Ray", 1) as seen:
        going = machine.start("sweep", "sweep.yaml", "--out", "killed", *options, TMPDIR=str(temp))
        assert going.wait_for(lambda: workers(going, "ray::do"))
        going.signal(signal.SIGKILL, group=False)
        going.end()
        machine.nobody_left()
        seen.compared += 1
        machine.run("sweep", "--resume", "killed", *options, TMPDIR=str(temp))
        machine.nobody_left()
        same(machine.folder / "killed", wanted)
        assert not list(temp.iterdir())
        seen.equal += 1


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_worker_of_a_trace_is_killed(machine, trying, draw):
    with trying("killed worker: trace", 1):
        going = machine.start("trace", "--config", "model.json", "--out", "cut")
        assert going.wait_for(lambda: workers(going, "trace"))
        kill_one(going, "trace", draw)
        said = going.end()
        assert said.code == 1
        assert "a worker process died" in said.last
        machine.nothing_left()


def recordings(folder, draw):
    """A manifest of 18 recordings; five more that nobody can read stand in the second one."""
    import soundfile

    folder.mkdir()
    lines = ["path,speaker,text"]
    rng = np.random.default_rng(draw.randrange(2**32))
    for number in range(18):
        soundfile.write(folder / f"{number}.wav", rng.standard_normal(32_000) * 0.1, 16_000)
        lines.append(f"{number}.wav,speaker-{number % 6},parola {number}")
    (folder / "good.csv").write_text("\n".join(lines))
    (folder / "noise.wav").write_bytes(rng.bytes(5_000))
    (folder / "cut.wav").write_bytes((folder / "0.wav").read_bytes()[:20_000])
    (folder / "empty.wav").write_bytes(b"")
    (folder / "folder.wav").mkdir()
    (folder / "gone.wav").symlink_to("nowhere.wav")
    bad = ["noise", "cut", "empty", "folder", "gone"]
    for position, name in enumerate(bad):
        lines.insert(3 * position + 2, f"{name}.wav,speaker-{position},niente")
    (folder / "bad.csv").write_text("\n".join(lines))
    return [f"{name}.wav" for name in bad]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_recordings_that_cannot_be_read(machine, trying, draw):
    """They are named and skipped, and the rest is learned from as if they had not been listed."""
    bad = recordings(machine.folder / "speech", draw)
    text = (machine.folder / "learn.yaml").read_text()
    for name in ("good", "bad"):
        corpus = f"corpus: {{kind: manifest, path: speech/{name}.csv}}"
        (machine.folder / f"{name}.yaml").write_text(
            text.replace("corpus: {speakers: 6, minutes: 1}", corpus)
        )
        options = [option for option in DATA if option != "--quiet"]
        said = machine.run("run", f"{name}.yaml", "--out", name, *options)
    with trying("unreadable recordings", len(bad)) as seen:
        assert all(name in said.err for name in bad), said.err
        good, found = content(machine.folder / "good"), content(machine.folder / "bad")
        assert len(found["manifest.json"]["corpus"]["skipped_files"]) == len(bad)
        seen.compared += 1
        for name in ("rounds.parquet", "clients.parquet", "convergence.parquet"):
            assert found[name] == good[name]
        seen.equal += 1
    with trying("a recording that changes while a run is stopped", 1):
        going = machine.start("run", "good.yaml", "--out", "cut", *DATA)
        assert going.wait_for((machine.folder / "cut/checkpoints/engine-00001.json").exists)
        going.signal(signal.SIGKILL)
        going.end()
        (machine.folder / "speech" / "4.wav").write_bytes(b"")
        said = machine.run("run", "--resume", "cut", *DATA, code=2)
        assert "is not what this run began with" in said.last, said


JUMPING = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>
static long jump(void) {
    static unsigned asked;
    static const long by[] = {0, 3600, -3600, 34560000, -34560000, -2};
    return by[(asked += 7) % 6];
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int said = real(clock, now);
    if (clock == CLOCK_REALTIME) now->tv_sec += jump();
    return said;
}
time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
int gettimeofday(struct timeval *out, void *zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return 0;
}
"""


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_clock_that_jumps(machine, trying):
    """Each time anybody asks for the date, it is another: hours and years, forwards and backwards."""
    source, library = machine.folder / "jumping.c", machine.folder / "jumping.so"
    source.write_text(JUMPING)
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler to make a clock that jumps")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    dates = "import datetime; print(len({datetime.datetime.now().year for _ in range(20)}))"
    said = subprocess.run(
        [sys.executable, "-c", dates],
        env={**os.environ, "LD_PRELOAD": str(library)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert int(said.stdout) > 1, "the clock does not jump"
    for verb, scenario, options in (
        ("run", "clock.yaml", DATA),
        ("run", "learn.yaml", TWO),
        ("sweep", "sweep.yaml", ("--quiet", "--workers", "2")),
    ):
        with trying("clock that jumps", 1) as seen:
            name = scenario.removesuffix(".yaml")
            machine.run(verb, scenario, "--out", f"jumped-{name}", *options, LD_PRELOAD=str(library))
            if verb == "sweep":
                options = (*options, "--no-cache")
            machine.run(verb, scenario, "--out", f"whole-{name}", *options)
            seen.compared += 1
            same(machine.folder / f"jumped-{name}", content(machine.folder / f"whole-{name}"))
            machine.nothing_left()
            seen.equal += 1
