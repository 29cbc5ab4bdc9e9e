"""On Flower's real simulation engine, each time in a process of its own with a time limit."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fedsim

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
APP = Path(__file__).with_name("engine_app.py")

LEARNING = """
learning:
  model: wav2vec2-tiny
  corpus: {kind: espeak, language: it, speakers: 6, minutes: 0.6}
  clients_per_round: 3
  batch_size: 2
  local_steps: 2
  crop_seconds: 1.0
  evaluation_seconds: 4
  evaluate_every: 1
"""


def done(*command, **variables):
    return subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env={**os.environ, "FLWR_TELEMETRY_ENABLED": "0", "OMP_NUM_THREADS": "1", **variables},
    )


def test_an_app_on_the_engine_has_its_partitions_as_clients(tmp_path, scenario):
    said = done(APP, scenario(3), tmp_path / "run", 3)
    assert said.returncode == 0, said.stderr
    assert "weights [1.0, 1.0]" in said.stdout  # partitions 0 and 2, of equal weight
    run = fedsim.load(tmp_path / "run")
    assert len(run.rounds) == 2
    for _, rows in run.clients.groupby("round"):
        by_client = rows.set_index("client")
        assert list(by_client.outcome.sort_index()) == ["completed", "failed", "completed"]
        assert by_client.loss[0] == 0.0
        assert by_client.loss[2] == 2.0


def test_an_app_with_more_nodes_than_clients_ends_with_a_sentence(tmp_path, scenario):
    said = done(APP, scenario(2), tmp_path / "run", 3)
    assert said.returncode != 0
    assert "set fleet.clients to 3, or start the app with 2 supernodes" in said.stderr


def test_the_weights_are_those_of_the_built_in_executor_bit_for_bit(tmp_path, scenario):
    path = Path(scenario())
    path.write_text(path.read_text() + LEARNING)
    cache = str(tmp_path / "cache")
    common = ["-m", "fedsim", "run", path, "--set", "rounds.count=2", "--no-report", "--quiet", "--out"]
    for name, more in (("a", ["--workers", 1]), ("b", ["--workers", 2, "--engine", "flower"])):
        said = done(*common, tmp_path / name, *more, FEDSIM_CACHE=cache)
        assert said.returncode == 0, said.stderr
    for name in ("checkpoints/round-00000", "checkpoints/round-00001", "checkpoints/round-00002"):
        a, b = ((tmp_path / run / f"{name}.safetensors").read_bytes() for run in "ab")
        assert hashlib.sha256(a).digest() == hashlib.sha256(b).digest()
    for name in ("rounds", "clients", "convergence"):
        assert (tmp_path / "a" / f"{name}.parquet").read_bytes() == (
            tmp_path / "b" / f"{name}.parquet"
        ).read_bytes()
    first, last = ((tmp_path / "b" / f"checkpoints/round-0000{n}.safetensors").read_bytes() for n in (0, 2))
    assert first != last


def test_a_scenario_that_trains_nobody_has_no_use_for_the_engine(tmp_path, scenario):
    said = done("-m", "fedsim", "run", scenario(), "--out", tmp_path / "a", "--engine", "flower")
    assert said.returncode == 2
    assert "trains nobody" in said.stderr
    assert "Traceback" not in said.stderr
