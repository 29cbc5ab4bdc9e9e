"""A run that goes on for very long: its memory stays flat, its directory small, and it can be resumed."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from load.watched import Watched, fedsim, folder_bytes, megabytes, table

from fedsim import results

#: Hours in which a handful of clients of two kinds train, and run out of memory, time and charge.
SOAK = """
name: soak
seed: 7
fleet:
  clients: 400
  mix:
    - {device: jetson-xavier-nx, share: 0.5, link: wifi, speed_spread: 0.05}
    - device: snapdragon-870
      share: 0.5
      link: lte
      availability: overnight
      pressure: phone
      speed_spread: 0.1
rounds: {count: 1, cohort: 4, close: {policy: deadline, after: 1h}}
"""
LEARNING = """
learning:
  corpus: {speakers: 6, minutes: 1}
  clients_per_round: 1
  local_steps: 1
  batch_size: 1
  crop_seconds: 0.5
  evaluation_seconds: 4
  evaluate_every: 100000
  checkpoint_every: 1000
"""
#: What a run may grow from the first to the last quarter after its warm-up.
FLAT_BYTES = 16e6


def _scenario(folder: Path, text: str = SOAK) -> Path:
    file = folder / "soak.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def _run(folder: Path, scenario: Path, rounds: int, **watching: object) -> Watched:
    return fedsim(
        "run", scenario, "--out", "run", "--draws", "0", "--set", f"rounds.count={rounds}", "--workers", "1",
        "--no-report", "--quiet", cwd=folder, **watching,
    )  # fmt: skip


def _flat(watched: Watched) -> float:
    first, *_, last = watched.quarters_bytes()
    assert last - first < FLAT_BYTES, megabytes(*watched.quarters_bytes())
    assert max(watched.open_files) <= 40
    return last - first


@pytest.mark.timeout(1800)
def test_a_run_of_a_thousand_rounds_leaves_a_small_directory(tmp_path: Path) -> None:
    """Too short to speak of flat memory, which the slow test does."""
    watched = _run(tmp_path, _scenario(tmp_path), 1_000)
    assert max(watched.open_files) <= 40
    run = results.load(tmp_path / "run")
    assert run.summary["rounds"] == 1_000
    assert not (tmp_path / "run" / "parts").exists()
    assert not (tmp_path / "run" / "checkpoints").exists()  # it is finished, and nothing was learnt
    assert folder_bytes(tmp_path / "run") < 500 * 1_000


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_soak_of_100_000_rounds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rounds, scenario = 100_000, _scenario(tmp_path)
    parts = tmp_path / "run" / "parts"
    database = parts / "rounds.sqlite"
    begun = _run(
        tmp_path, scenario, rounds, kill_when=lambda: database.exists() and database.stat().st_size > 60e6
    )
    assert not begun.ended
    files, unfinished_bytes = len(list(parts.iterdir())), folder_bytes(tmp_path / "run")
    grown = _flat(begun)
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    began = time.monotonic()
    with results.RunWriter.resume(tmp_path / "copy") as writer:
        resume_s, done = time.monotonic() - began, writer.next_round
    assert 70_000 < done < rounds
    rest = fedsim("run", "--resume", "run", "--no-report", "--quiet", cwd=tmp_path)
    report = fedsim("report", "run", cwd=tmp_path)
    summary = results.load(tmp_path / "run").summary
    assert summary["rounds"] == rounds
    assert sum(summary["outcomes"].values()) == summary["client_rounds"]
    page = (tmp_path / "run" / "report.html").stat().st_size
    assert page < 5e6
    peak = max(begun.peak_bytes, rest.peak_bytes)
    assert peak < 500e6
    figures = {
        "rounds": f"{rounds:,}, killed after {done:,} and resumed",
        "client-rounds": f"{summary['client_rounds']:,}",
        "simulated": f"{summary['end_s'] / 86400:,.1f} days",
        "seconds": f"{begun.seconds:,.0f} before the kill, {rest.seconds:,.0f} after",
        "peak": megabytes(peak),
        "quarters": f"{megabytes(*begun.quarters_bytes())} after warm-up: grew by {grown / 1e6:,.1f} MB",
        "open files": f"at most {max(*begun.open_files, *rest.open_files)}",
        "unfinished": f"{megabytes(unfinished_bytes)} in {files} files of parts",
        "directory": f"{megabytes(folder_bytes(tmp_path / 'run'))}, report and timeline included",
        "opening to resume": f"{resume_s:,.2f} s",
        "report": f"{report.seconds:,.0f} s, peak {megabytes(report.peak_bytes)}, page {megabytes(page)}",
    }
    with capsys.disabled():
        print(table("A soak, timing only", figures))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_soak_with_learning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rounds = 400
    watched = _run(tmp_path, _scenario(tmp_path, SOAK + LEARNING), rounds)
    grown = _flat(watched)
    run = results.load(tmp_path / "run")
    assert run.summary["rounds"] == rounds
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) <= 6
    figures = {
        "rounds": f"{rounds:,}, one client trained for real in each",
        "seconds": f"{watched.seconds:,.0f}",
        "peak": megabytes(watched.peak_bytes),
        "quarters": f"{megabytes(*watched.quarters_bytes())} after warm-up: grew by {grown / 1e6:,.1f} MB",
        "directory": megabytes(folder_bytes(tmp_path / "run")),
    }
    with capsys.disabled():
        print(table("A soak with learning", figures))
