"""Plug-ins in other processes: by an entry point, in the workers of a sweep, on Ray."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from guide import copied

ROOT = Path(__file__).parents[2]
SWEEP = """
fleet: {clients: 40, mix: [{device: jetson-xavier-nx, share: 0.5}, {device: raspberry-pi-4, share: 0.5}]}
rounds: {count: 3, cohort: 6}
sweep:
  rounds.select: [random, {policy: smallest-first, pool: 4}]
"""


@pytest.fixture
def place(tmp_path):
    """A folder with the guide's selection policy and a sweep over it."""
    copied("smallest_first.py", tmp_path)
    (tmp_path / "mine.yaml").write_text(SWEEP, encoding="utf-8")
    return tmp_path


def fedsim(place, *words, **environment):
    done = subprocess.run(
        [sys.executable, "-m", "fedsim", *words],
        cwd=place,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_an_installed_package_makes_itself_known(place):
    code, said, _ = fedsim(place, "schema")
    assert code == 0
    assert "smallest-first" not in said
    facts = place / "packages" / "smallest_first-1.0.dist-info"
    facts.mkdir(parents=True)
    shutil.move(place / "smallest_first.py", place / "packages")
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: smallest_first\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[fedsim.plugins]\nmine = smallest_first:SmallestFirst\n")
    path = os.pathsep.join([str(place / "packages"), str(ROOT)])
    code, said, error = fedsim(place, "schema", PYTHONPATH=path)
    assert code == 0, error
    assert "smallest-first" in said
    code, _, error = fedsim(
        place, "sweep", "mine.yaml", "--out", "swept", "--workers", "2", "--quiet", PYTHONPATH=path
    )
    assert code == 0, error


def test_a_sweep_computes_with_a_plug_in_in_its_workers(place):
    code, _, error = fedsim(place, "sweep", "mine.yaml", "--out", "without", "--quiet")
    assert code == 2
    assert "'smallest-first' is not one of" in error
    assert "--plugin" in error
    tables = []
    for workers in ("1", "2"):
        code, _, error = fedsim(
            place, "sweep", "mine.yaml", "--plugin", "smallest_first.py", "--out", workers,
            "--workers", workers, "--no-cache", "--quiet",
        )  # fmt: skip
        assert code == 0, error
        tables.append(pd.read_parquet(place / workers / "sweep.parquet"))
    pd.testing.assert_frame_equal(*[table.select_dtypes("number") for table in tables])
    assert len(tables[0]) == 2


@pytest.mark.slow
def test_a_sweep_on_ray_has_it_too(place):
    pytest.importorskip("ray")
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    code, _, error = fedsim(
        place, "sweep", "mine.yaml", "--plugin", "smallest_first.py", "--out", "swept",
        "--executor", "ray", "--no-cache", "--quiet", TMPDIR=folder,
    )  # fmt: skip
    shutil.rmtree(folder)
    assert code == 0, error
    assert len(pd.read_parquet(place / "swept" / "sweep.parquet")) == 2
