"""A run directory of ten million client-rounds: written, read and reported in bounded memory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from load.watched import Watched, fedsim, folder_bytes, megabytes, table

from fedsim import results
from fedsim.report import timeline

LARGE = """
name: large
seed: 7
fleet:
  clients: {clients}
  mix:
    - {{device: jetson-xavier-nx, share: 0.5, link: wifi, speed_spread: 0.05}}
    - device: snapdragon-870
      share: 0.5
      link: lte
      availability: overnight
      pressure: phone
      speed_spread: 0.1
rounds: {{count: {rounds}, cohort: {cohort}, close: {{policy: deadline, after: 1h}}}}
server: {{uplink: unlimited, downlink: unlimited}}
"""
SUMS = ("downloaded_bytes", "uploaded_bytes", "energy_j")


def _made(folder: Path, clients: int, cohort: int, rounds: int) -> tuple[Watched, Watched]:
    """A run and its report, each in a process of its own."""
    text = LARGE.format(clients=clients, cohort=cohort, rounds=rounds)
    (folder / "large.yaml").write_text(text, encoding="utf-8")
    ran = fedsim("run", "large.yaml", "--out", "run", "--draws", "0", "--no-report", "--quiet", cwd=folder)
    return ran, fedsim("report", "run", cwd=folder)


def _tells_the_truth(folder: Path) -> dict[str, object]:
    """Hold the summary, the page and the timeline of a run against its tables; the summary."""
    run = results.load(folder)
    rows, summary = pq.ParquetFile(folder / "clients.parquet"), run.summary
    counts: dict[str, int] = {}
    sums, completed = dict.fromkeys(SUMS, 0.0), np.zeros(summary["participation"]["clients"], np.int64)
    for group in range(rows.num_row_groups):
        piece = rows.read_row_group(group, ["client", "outcome", *SUMS])
        for found in pc.value_counts(piece["outcome"]).to_pylist():
            counts[found["values"]] = counts.get(found["values"], 0) + found["counts"]
        for name in SUMS:
            sums[name] += pc.sum(piece[name]).as_py()
        done = piece.filter(pc.equal(piece["outcome"], "completed"))["client"].to_numpy()
        np.add.at(completed, done, 1)
    assert {word: count for word, count in summary["outcomes"].items() if count} == counts
    assert {"completed", "oom", "offline"} <= set(counts)
    assert summary["client_rounds"] == rows.metadata.num_rows == sum(counts.values())
    assert {name: summary[name] for name in SUMS} == pytest.approx(sums, rel=1e-9)
    assert summary["participation"]["most"] == completed.max()
    assert summary["participation"]["completed"] == np.count_nonzero(completed)
    rounds = pq.read_table(folder / "rounds.parquet")
    for word, count in counts.items():
        assert pc.sum(rounds[word]).as_py() == count
    assert (folder / "report.html").stat().st_size < 5e6
    assert f"{summary['client_rounds']:,}" in (folder / "report.html").read_text(encoding="utf-8")
    shown = json.loads((folder / "timeline.json").read_text(encoding="utf-8"))
    assert shown["otherData"]["client-rounds"] == summary["client_rounds"]
    assert shown["otherData"]["clients shown"] <= timeline.MOST_CLIENTS
    spans = {(e["tid"], e["args"]["round"]) for e in shown["traceEvents"] if e["ph"] == "X" and e["pid"] == 2}
    assert 0 < len(spans) <= shown["otherData"]["client-rounds shown"] <= timeline.MOST_CLIENT_ROUNDS
    return summary


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_more_rows_take_no_more_memory(tmp_path: Path) -> None:
    peaks = []
    for rounds in (40, 160):
        (folder := tmp_path / str(rounds)).mkdir()
        ran, reported = _made(folder, 4_000, 2_000, rounds)
        summary = _tells_the_truth(folder / "run")
        assert summary["rounds"] == rounds
        peaks.append((ran.peak_bytes, reported.peak_bytes))
    (ran_few, report_few), (ran_many, report_many) = peaks
    # 240,000 rows more are 33 MB as figures and far more as objects
    assert ran_many - ran_few < 100e6
    assert report_many - report_few < 100e6


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("cohort", "rounds"), [(10_000, 1_000), (100_000, 100)])
def test_ten_million_client_rounds(
    cohort: int, rounds: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran, reported = _made(tmp_path, 200_000, cohort, rounds)
    summary = _tells_the_truth(tmp_path / "run")
    assert summary["client_rounds"] == 10_000_000
    assert ran.peak_bytes < 600e6
    assert reported.peak_bytes < 600e6
    run, sizes = results.load(tmp_path / "run"), []
    for batch in run.batches("clients", ("client", "energy_j")):
        sizes.append(batch.num_rows)
    assert sum(sizes) == 10_000_000
    assert max(sizes) <= 1 << 16
    files = {path.name: path.stat().st_size for path in (tmp_path / "run").iterdir() if path.is_file()}
    figures = {
        "cohort x rounds": f"{cohort:,} x {rounds:,} of 200,000 clients",
        "run": f"{ran.seconds:,.0f} s, peak {megabytes(ran.peak_bytes)}",
        "report": f"{reported.seconds:,.0f} s, peak {megabytes(reported.peak_bytes)}",
        "directory": megabytes(folder_bytes(tmp_path / "run")),
        "clients.parquet": megabytes(files["clients.parquet"]),
        "report.html": megabytes(files["report.html"]),
        "timeline.json": megabytes(files["timeline.json"]),
    }
    with capsys.disabled():
        print(table("Ten million client-rounds", figures))
