"""What a run says about the recordings that it could not use, and about what is not spelled out."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from fedsim.cli.run import command

SCENARIO = """
name: recordings
seed: 3
fleet: {clients: 2, mix: [{device: jetson-xavier-nx, share: 1.0, link: instant}]}
rounds: {count: 1, cohort: 2}
learning:
  corpus: {kind: manifest, path: PATH}
  partition: natural
  clients_per_round: 1
  batch_size: 2
  local_steps: 1
  crop_seconds: 1
  evaluation_seconds: 2
"""


def test_skipped_recordings_are_in_the_summary_and_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDSIM_CACHE", str(tmp_path / "cache"))
    draw = np.random.default_rng(0)
    rows = [["path", "speaker", "text", "split"]]
    for number, split in enumerate(["train", "train", "validation", "validation"]):
        soundfile.write(tmp_path / f"{number}.wav", draw.normal(0, 0.1, 24_000), 16_000)
        text = ["nel 1984 arrivò", "il 50%", "tre", ""][number]
        rows.append([f"{number}.wav", f"speaker-{number}", text, split])
    soundfile.write(tmp_path / "quiet.wav", np.zeros(16_000), 16_000)
    rows += [["quiet.wav", "a", "", "train"], ["gone.wav", "a", "", "train"]]
    with (tmp_path / "list.csv").open("w", newline="") as out:
        csv.writer(out).writerows(rows)
    (tmp_path / "s.yaml").write_text(SCENARIO.replace("PATH", str(tmp_path / "list.csv")))

    done = CliRunner().invoke(
        command, [str(tmp_path / "s.yaml"), "--out", str(tmp_path / "out"), "--workers", "1", "--no-report"]
    )
    assert done.exit_code == 0, done.output
    held = json.loads((tmp_path / "out" / "summary.json").read_text())["corpus"]
    assert held["skipped"] == 2
    assert held["skipped_files"] == ["quiet.wav is silent", "gone.wav is missing"]
    assert held["utterances"] == 4
    assert held["figures"] == 2
    assert held["seconds"] == {"train": 3.0, "validation": 3.0, "test": 0.0}
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["corpus"] == held
    said = " ".join(done.stdout.split())
    assert "2 recordings of the speech corpus skipped: quiet.wav is silent and gone.wav is missing." in said
    assert "2 recordings skipped: quiet.wav is silent; gone.wav is missing" in done.stderr
    figures = "2 of 4 transcripts hold figures or symbols, which are scored as they are written"
    assert f"{figures}." in said
    assert figures in done.stderr
