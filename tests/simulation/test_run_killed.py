"""A run that is killed at any moment and resumed leaves the bytes of one that nobody disturbed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

KILL_HERE = Path(__file__).parent / "kill_here.py"
PATIENCE_S = 240.0
SCENARIO = """
seed: 11
fleet:
  clients: 30
  mix:
    - {device: jetson-agx-xavier, share: 0.5, link: wifi, speed_spread: 0.1}
    - device: macbook-pro-2019
      share: 0.5
      link: lte
      availability: {kind: markov, mean_online: 1h, mean_offline: 1h}
      pressure: laptop
      battery: {capacity: 60Wh}
rounds: {count: 5, cohort: 6, close: {policy: deadline, after: 20min}, aggregate: fedadam}
learning:
  corpus: {speakers: 6, minutes: 1}
  clients_per_round: 2
  local_steps: 1
  batch_size: 2
  crop_seconds: 1.0
  evaluation_seconds: 4
"""
ASYNCHRONOUS = SCENARIO.replace("{policy: deadline, after: 20min}", "{policy: async, buffer: 3}")


@dataclass
class Shell:
    """Spawns ``fedsim`` with a cache of its own, one thread, and no figures."""

    folder: Path
    kills: int = 0

    def start(self, moment, *arguments, directory):
        command = [sys.executable, "-m", "fedsim"]
        if moment is not None:
            command = [sys.executable, str(KILL_HERE), str(directory), moment]
        environment = {**os.environ, "FEDSIM_CACHE": str(self.folder / "cache"), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            [*command, "run", *map(str, arguments), "--workers", "1", "--no-report", "--quiet"],
            env=environment,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def whole(self, *arguments, directory, moment=None):
        """Run to the end."""
        process = self.start(moment, *arguments, directory=directory)
        said, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, said

    def killed(self, moment, *arguments, directory):
        """Run until killed, at a moment or after a number of seconds; whether it did not end before."""
        after_s = moment if isinstance(moment, float) else PATIENCE_S
        process = self.start(None if isinstance(moment, float) else moment, *arguments, directory=directory)
        try:
            said, _ = process.communicate(timeout=after_s)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), said
        self.kills += process.returncode != 0
        self.nobody_left(process.pid)
        return process.returncode != 0

    def nobody_left(self, group):
        """Worker processes go by themselves when their parent is gone."""
        begin = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            while time.monotonic() - begin < PATIENCE_S:
                os.killpg(group, 0)
                time.sleep(0.05)
            pytest.fail("worker processes outlive a run that was killed")

    def resumed_to_the_end(self, scenario, directory, moments):
        """Kill a run and its resumptions at those moments, and let the last one finish.

        A run whose summary is there is finished: to go on with it only tidies up, and says so.
        """
        for moment in moments:
            if (directory / "summary.json").exists():
                break
            self.killed(moment, *self.arguments(scenario, directory), directory=directory)
        if not (directory / "summary.json").exists():
            self.whole(*self.arguments(scenario, directory), directory=directory)
            return
        process = self.start(None, "--resume", directory, directory=directory)
        said, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 2
        assert "finished" in said

    def arguments(self, scenario, directory):
        """To go on; or to begin anew, if the run was killed before it had noted down what it is."""
        if (directory / "manifest.json").exists():
            return ["--resume", directory]
        if directory.exists():
            directory.rename(directory.with_name(f"{directory.name}-never-began-{self.kills}"))
        return [scenario, "--out", directory]


def content(directory):
    """Every file by its path, the part of the manifest aside that differs from run to run by intent."""
    files = {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}
    manifest = json.loads(files.pop("manifest.json"))
    del manifest["volatile"]
    return {**files, "manifest": manifest}


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    return Shell(tmp_path_factory.mktemp("killed"))


@pytest.fixture(scope="module")
def undisturbed(shell, request):
    """A scenario, what its run leaves, how many operations on files that took, and how many seconds."""
    name, text = request.param
    scenario = shell.folder / f"{name}.yaml"
    scenario.write_text(text)
    directory, counted = shell.folder / f"whole-{name}", shell.folder / "count"
    begin = time.monotonic()
    shell.whole(scenario, "--out", directory, directory=directory, moment=f"count:{counted}")
    return scenario, content(directory), int(counted.read_text()), time.monotonic() - begin


def same(directory, wanted):
    found = content(directory)
    assert sorted(found) == sorted(wanted)
    for name, data in wanted.items():
        assert found[name] == data, name


SYNCHRONOUS, BUFFERED = ("deadline", SCENARIO), ("buffered", ASYNCHRONOUS)


@pytest.mark.parametrize("undisturbed", [SYNCHRONOUS], ids=["deadline"], indirect=True)
def test_killed_again_and_again_it_ends_with_the_same_bytes(shell, undisturbed, tmp_path):
    scenario, wanted, operations, _ = undisturbed
    draw, before = random.Random(7), shell.kills
    # A round before its commit, half a file, twice between two operations, and while it tidies up.
    between = [f"op:{draw.randrange(1, operations // 4)}" for _ in range(2)]
    moments = [between[0], "round:2", "file:3", between[1], "tidy:1"]
    shell.resumed_to_the_end(scenario, tmp_path / "run", moments)
    assert shell.kills - before == 5
    same(tmp_path / "run", wanted)


@pytest.mark.parametrize("undisturbed", [SYNCHRONOUS, BUFFERED], ids=["deadline", "async"], indirect=True)
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_from_any_of_twenty_random_moments(shell, undisturbed, tmp_path):
    scenario, wanted, operations, took_s = undisturbed
    draw, before, chain = random.Random(5), shell.kills, 0
    while shell.kills - before < 20:
        kinds = (
            lambda: draw.uniform(0.0, took_s),
            lambda: f"op:{draw.randrange(1, operations)}",
            lambda: f"round:{draw.randrange(1, 6)}",
            lambda: f"file:{draw.randrange(1, 12)}",
            lambda: f"tidy:{draw.randrange(1, 6)}",
        )
        moments = [draw.choice(kinds)() for _ in range(4)]
        shell.resumed_to_the_end(scenario, tmp_path / str(chain), moments)
        same(tmp_path / str(chain), wanted)
        chain += 1
