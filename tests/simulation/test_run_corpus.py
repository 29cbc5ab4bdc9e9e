"""What a run says of recordings that it could not use or had better not, and of what is not spelled out."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from fedsim import results
from fedsim.cli import finetune
from fedsim.cli.run import command
from fedsim.errors import CorpusError
from fedsim.report.digest import digest
from fedsim.report.figures import convergence
from fedsim.report.style import LIGHT

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


def test_an_error_rate_on_speakers_who_were_heard_is_marked_wherever_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDSIM_CACHE", str(tmp_path / "cache"))
    draw = np.random.default_rng(0)
    rows = [["path", "speaker", "text", "split"]]
    who = [("anna", "train"), ("bruno", "train"), ("carla", "validation"), ("anna", "test"), ("dino", "test")]
    for number, (speaker, split) in enumerate(who):
        soundfile.write(tmp_path / f"{number}.wav", draw.normal(0, 0.1, 24_000), 16_000)
        rows.append([f"{number}.wav", speaker, "una frase", split])
    with (tmp_path / "list.csv").open("w", newline="") as out:
        csv.writer(out).writerows(rows)
    text = SCENARIO.replace("PATH", str(tmp_path / "list.csv"))
    text += "  downstream: {steps: 1, batch_size: 2}\n"
    (tmp_path / "s.yaml").write_text(text)
    given = [str(tmp_path / "s.yaml"), "--workers", "1", "--no-report", "--out"]
    with pytest.raises(
        CorpusError, match=r"list\.csv: has the speaker 'anna' in train and in test \(3\.wav\)"
    ):
        CliRunner().invoke(command, [*given, str(tmp_path / "apart")], catch_exceptions=False)

    (tmp_path / "s.yaml").write_text(text.replace("{kind: manifest,", "{kind: manifest, overlap: true,"))
    done = CliRunner().invoke(command, [*given, str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    held = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert held["corpus"]["heard"] == {"test": 1}
    assert "word error rate on test speakers (heard in training) is" in " ".join(done.stdout.split())
    assert "test are too low: training hears the speaker or the sound of 1 of its 2 utterances" in done.stderr
    found = digest(results.load(tmp_path / "out"))
    lines = [line for ax in convergence.draw(found, LIGHT).figure.axes for line in ax.get_lines()]
    assert {str(line.get_label()) for line in lines} >= {"test (heard in training)", "validation"}
    tuned = CliRunner().invoke(finetune.command, [str(tmp_path / "out")])
    assert "Some test speakers were heard in training: these rates flatter." in " ".join(tuned.stdout.split())


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
    soundfile.write(tmp_path / "loud.wav", np.tile([1.0, -1.0], 12_000), 16_000, subtype="FLOAT")
    rows.append(["loud.wav", "speaker-0", "", "train"])
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
    assert held["utterances"] == 5
    assert held["figures"] == 2
    loud = "loud.wav is clipped: 100.0% of its samples stand at full scale"
    assert (held["doubtful"], held["doubtful_files"]) == (1, [loud])
    assert held["seconds"] == {"train": 4.5, "validation": 3.0, "test": 0.0}
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["corpus"] == held
    said = " ".join(done.stdout.split())
    assert "2 recordings of the speech corpus skipped: quiet.wav is silent and gone.wav is missing." in said
    assert f"1 recording of the speech corpus used although doubtful: {loud}." in said
    assert "2 recordings skipped: quiet.wav is silent; gone.wav is missing" in done.stderr
    figures = "2 of 5 transcripts hold figures or symbols, which are scored as they are written"
    assert f"{figures}." in said
    assert figures in done.stderr
