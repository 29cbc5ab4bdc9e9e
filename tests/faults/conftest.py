"""Counting what was tried, and the table at the end; small scenarios; a disk of a few kilobytes."""

from __future__ import annotations

import os
import random
import subprocess
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from .machine import Machine

SEED = int(os.environ.get("FEDSIM_FAULTS_SEED", "9"))
CLOCK = """
name: clock
seed: 11
hardware: {trend: gao2022}
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
rounds: {count: ROUNDS, cohort: 6, close: {policy: deadline, after: 20min}, aggregate: fedadam}
"""
LEARN = """
learning:
  corpus: {speakers: 6, minutes: 1}
  clients_per_round: 2
  local_steps: 1
  batch_size: 2
  crop_seconds: 1.0
  evaluation_seconds: 4
"""
SWEEP = "sweep: {hardware.year: [2022, 2030], training.batch_size: [2, 4]}\n"
MODEL = """
{"model_type": "wav2vec2", "architectures": ["Wav2Vec2ForPreTraining"], "hidden_size": 16,
 "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "conv_dim": [8, 8],
 "conv_kernel": [10, 3], "conv_stride": [5, 2], "num_feat_extract_layers": 2,
 "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2, "codevector_dim": 8,
 "proj_codevector_dim": 8, "num_codevectors_per_group": 8}
"""


@pytest.fixture
def machine(tmp_path):
    """A machine with scenarios in it: clock.yaml, long.yaml, learn.yaml, sweep.yaml, model.json."""
    if not Path("/proc/self/task").is_dir():
        pytest.skip("needs /proc to see what a command is doing")
    made = Machine(tmp_path / "machine")
    (made.folder / "clock.yaml").write_text(CLOCK.replace("ROUNDS", "40"))
    (made.folder / "clock-3000.yaml").write_text(CLOCK.replace("ROUNDS", "3000"))
    (made.folder / "long.yaml").write_text(CLOCK.replace("ROUNDS", "1000000"))
    (made.folder / "learn.yaml").write_text(CLOCK.replace("ROUNDS", "4") + LEARN)
    (made.folder / "sweep.yaml").write_text(CLOCK.replace("ROUNDS", "20") + SWEEP)
    (made.folder / "model.json").write_text(MODEL)
    yield made
    made.nobody_left()


@pytest.fixture
def draw(request):
    """Random numbers that the seed and the test's name decide."""
    return random.Random(f"{SEED} {request.node.name}")


@pytest.fixture
def trying(record_property):
    """``with trying("a full disk") as seen``: seen.tried and seen.equal are counted; a failure is a loss."""

    @contextmanager
    def trying(fault, tried=0):
        seen, lost = SimpleNamespace(tried=tried, equal=0, compared=0), 1
        try:
            yield seen
            lost = 0
        finally:
            record_property("fault", [fault, seen.tried, lost, seen.equal, seen.compared])

    return trying


@pytest.fixture
def disk(tmp_path):
    """``disk(size)`` mounts a small disk; ``.resize(size)`` and ``.read_only()`` change it."""
    made = []

    class Disk:
        def __init__(self, size):
            self.path = tmp_path / f"disk-{len(made)}"
            self.path.mkdir()
            done = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", self.path],
                capture_output=True,
                text=True,
            )
            if done.returncode:
                pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
            made.append(self.path)

        def _again(self, options):
            subprocess.run(["mount", "-o", f"remount,{options}", self.path], check=True)

        def resize(self, size):
            self._again(f"rw,size={size}")

        def read_only(self):
            self._again("ro")

    yield Disk
    for path in made:
        subprocess.run(["umount", "-l", path], check=True)


def pytest_terminal_summary(terminalreporter):
    rows = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", "") == "call":
                for name, found in report.user_properties:
                    if name == "fault":
                        row = rows.setdefault(found[0], [0, 0, 0, 0])
                        for place, value in enumerate(found[1:]):
                            row[place] += value
    if not rows:
        return
    terminalreporter.section(f"faults (seed {SEED})")
    wide = max(map(len, rows))
    terminalreporter.write_line(f"{'fault':{wide}}  {'tried':>5}  {'lost':>4}  resumed equal")
    rows = {
        **dict(sorted(rows.items())),
        "in all": [sum(column) for column in zip(*rows.values(), strict=True)],
    }
    for fault, (tried, lost, equal, compared) in rows.items():
        same = f"{equal} of {compared}" if compared else "-"
        terminalreporter.write_line(f"{fault:{wide}}  {tried:5}  {lost:4}  {same}")
