"""``fedsim finetune``: what it writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from fedsim.cli.finetune import command
from fedsim.errors import RunError
from fedsim.results import finetuned
from fedsim.results.columns import FINETUNE
from fedsim.scenario import load
from fedsim.simulation import execute
from fedsim.simulation.finetune import finetune

SCENARIO = """
name: small
seed: 3
fleet: {clients: 4, mix: [{device: jetson-xavier-nx, share: 1.0, link: instant}]}
rounds: {count: 2, cohort: 2}
learning:
  corpus: {kind: espeak, speakers: 6, minutes: 0.6}
  clients_per_round: 2
  batch_size: 2
  local_steps: 1
  crop_seconds: 1
  evaluation_seconds: 4
  downstream: {steps: 2, batch_size: 2, test_minutes: 0.05}
"""


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEDSIM_CACHE", str(folder / "cache"))
        (folder / "small.yaml").write_text(SCENARIO)
        return execute.run(load(str(folder / "small.yaml")), folder / "out")


@pytest.fixture(autouse=True)
def _cache(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDSIM_CACHE", str(run_dir.parent / "cache"))


def test_the_newest_checkpoint_gives_what_the_run_itself_gave(run_dir: Path) -> None:
    from fedsim.results import load as load_run

    (got,) = finetune(run_dir)
    rows = load_run(run_dir).convergence.set_index("metric")["value"]
    assert (got["wer"], got["cer"]) == (rows["wer"], rows["cer"])
    assert got["rounds_done"] == 2
    assert got["seed"] == 3
    assert got["disjoint"] is True
    assert set(got) == set(FINETUNE)


def test_several_rounds_and_seeds_are_added_once(run_dir: Path) -> None:
    first = finetune(run_dir, [0, 2], [3, 4], {"steps": 1})
    held = finetuned.read(run_dir)
    assert finetune(run_dir, [2, 0], [3, 4], {"steps": 1}) == first
    assert [(r["rounds_done"], r["seed"]) for r in first] == [(0, 3), (0, 4), (2, 3), (2, 4)]
    assert finetuned.read(run_dir) == held
    assert all(result in held for result in first)


@pytest.mark.slow
def test_results_do_not_depend_on_the_workers(run_dir: Path) -> None:
    once = finetune(run_dir, seeds=[5, 6], changes={"steps": 1})
    assert finetune(run_dir, seeds=[5, 6], changes={"steps": 1}, workers=2) == once


def test_the_command_prints_and_keeps(run_dir: Path) -> None:
    done = CliRunner().invoke(command, [str(run_dir), "--round", "0", "--steps", "1", "--json"])
    assert done.exit_code == 0, done.output
    (shown,) = json.loads(done.stdout)
    (kept,) = [
        r
        for r in finetuned.read(run_dir)
        if r["settings"]["steps"] == 1 and r["rounds_done"] == 0 and r["seed"] == 3
    ]
    assert shown == {key: value for key, value in kept.items() if key != "recognised"}
    said = CliRunner().invoke(command, [str(run_dir), "--round", "0", "--steps", "1"])
    assert f"{kept['wer']:.1%}" in said.stdout


def test_test_sentences_with_figures_are_counted(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (got,) = finetune(run_dir, changes={"steps": 1})
    recognised = [["anna", "nel 1984 arrivò", ""], ["anna", "il 50%", ""], ["bruno", "tre", ""]]
    monkeypatch.setattr("fedsim.simulation.finetune.finetune", lambda *_: [{**got, "recognised": recognised}])
    said = CliRunner().invoke(command, [str(run_dir)]).stdout
    assert "2 of 3 transcripts hold figures or symbols, which are scored as they are written." in said


def test_a_round_without_checkpoint_names_those_there_are(run_dir: Path) -> None:
    with pytest.raises(RunError, match=r"no checkpoint after 7 rounds; there are those after 0, 1, 2 "):
        finetune(run_dir, rounds=[7])


def test_a_run_without_learning_is_refused(tmp_path: Path) -> None:
    (tmp_path / "timing.yaml").write_text(SCENARIO.split("learning:")[0])
    out = execute.run(load(str(tmp_path / "timing.yaml")), tmp_path / "out")
    with pytest.raises(RunError, match="learned nothing"):
        finetune(out)


def test_a_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "finetune.json").write_text('{"format": 1, "results": [{"wer": 1}]}')
    with pytest.raises(RunError, match="damaged"):
        finetuned.read(tmp_path)
