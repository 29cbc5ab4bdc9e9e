"""Federated recognition: pretrained by one run, recognising in another, error rates on the clock."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fedsim import results
from fedsim.learning.restore import model_of
from fedsim.scenario import load
from fedsim.simulation import execute
from fedsim.tasks.ctc.finetune import error_rates

SCENARIO = """
seed: 3
fleet: {clients: 4, mix: [{device: jetson-xavier-nx, share: 1.0}]}
training: {model: wav2vec2-base-ctc}
rounds: {count: 3, cohort: 2}
learning:
  corpus: {kind: espeak, speakers: 6, minutes: 0.6}
  clients_per_round: 2
  batch_size: 2
  local_steps: 1
  evaluation_seconds: 8
"""


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A pretraining run, and one that recognises from its newest checkpoint."""
    monkeypatch.setenv("FEDSIM_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "s.yaml"
    file.write_text(SCENARIO)
    first = execute.run(load(file, ["rounds.count=1", "learning.crop_seconds=0.5"]), tmp_path / "pretrained")
    there = [f"learning.init={first}", "learning.task=ctc", "learning.evaluate_every=2"]
    return first, execute.run(load(file, there), tmp_path / "recognised")


def test_error_rates_of_both_held_out_splits_stand_on_the_clock(runs: tuple[Path, Path]) -> None:
    pretrained, recognised = runs
    found, ends = results.load(recognised).convergence, results.load(recognised).rounds["end_s"]
    for metric in ("loss", "wer", "cer"):
        for split in ("validation", "test"):
            rows = found[(found["metric"] == metric) & (found["split"] == split)]
            assert rows["round"].tolist() == [-1, 1, 2]
            assert rows["time_s"].tolist() == [0.0, ends[1], ends[2]]
    before = model_of(
        load(pretrained / "scenario.yaml").scenario.learning.task,
        pretrained / "checkpoints/round-00001.safetensors",
        3,
    )
    after = model_of(
        load(
            recognised / "scenario.yaml", access=execute.again(recognised, execute.FileAccess())
        ).scenario.learning.task,
        recognised / "checkpoints/round-00000.safetensors",
        3,
    )
    theirs = before.wav2vec2.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in after.encoder.state_dict().items())


def test_they_are_those_of_what_the_model_recognises(runs: tuple[Path, Path]) -> None:
    _, recognised = runs
    scenario = load(
        recognised / "scenario.yaml", access=execute.again(recognised, execute.FileAccess())
    ).scenario
    assert scenario.learning is not None
    task = scenario.learning.task
    model = model_of(task, recognised / "checkpoints/round-00003.safetensors", scenario.seed).eval()
    data, draw = task.data(scenario.seed), np.random.default_rng(0)
    found = results.load(recognised).convergence
    for split in ("validation", "test"):
        pairs = []
        for chosen in data.held_out(split):
            batch = task.batch(data, chosen, draw, False)
            with torch.no_grad():
                likely, frames = model.hear(batch.waves, batch.attention, batch.lengths)
            best = likely.argmax(-1).numpy()
            pairs += [
                (text, batch.vocabulary.decode(row[:count].tolist()))
                for text, row, count in zip(batch.texts, best, frames, strict=True)
            ]
        assert len(pairs) >= 1
        last = found[(found["split"] == split) & (found["round"] == 2)].set_index("metric")["value"]
        assert (last["wer"], last["cer"]) == pytest.approx(error_rates(pairs))


def test_the_shipped_scenario_begins_with_a_run(tmp_path: Path) -> None:
    scenario = load("recognition").scenario
    assert scenario.learning is not None
    assert scenario.learning.task.name == "ctc"
    assert scenario.learning.init is None
    assert scenario.training.model == "wav2vec2-base-ctc"
