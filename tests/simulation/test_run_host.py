"""What real training will ask of a machine, held against figures that can be worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from fedsim.cli.validate import command
from fedsim.errors import InputError
from fedsim.hardware import load_device
from fedsim.pricing import Pricer, Technique, load_trace
from fedsim.scenario import load
from fedsim.simulation.host import MACHINES, learning_outlook


def test_the_full_size_scenario_without_its_corpus() -> None:
    (row,) = learning_outlook(load("paper/fl10-real").scenario)
    assert row.machine == "nvidia-a40"
    assert row.precision == "bf16"
    assert row.steps == 150 * 10 * 19_500 // 4
    assert row.training_s == pytest.approx(row.steps * row.step_s)
    assert row.corpus_missing == "cv-corpus-7.0-2021-07-21/it"
    assert row.fits
    vector = 4 * load_trace("wav2vec2-base").parameters
    assert row.shared_bytes == vector * (2 + 3 * 2)
    assert row.disk_bytes is not None
    assert row.disk_bytes == pytest.approx((150 // 10 + 3) * vector + 288.8 * 3600 * 32_000, rel=0.01)


def test_local_steps_and_the_crop_decide_where_there_are_no_epochs(tmp_path: Path) -> None:
    loaded = load("quickstart", ["learning.crop_seconds=1", "learning.local_steps=3"])
    rows = learning_outlook(loaded.scenario)
    assert tuple(row.machine for row in rows) == MACHINES
    pricer = Pricer(load_device(MACHINES[1]), load_trace("wav2vec2-tiny"), Technique(attention="sdpa"))
    assert rows[1].steps == 24 * 8 * 3
    assert rows[1].worker_bytes == pytest.approx(float(pricer.footprint_bytes(4, 16_000)))
    assert rows[1].step_s == pytest.approx(float(pricer.step_s(4, 16_000)), rel=0.05)  # few are shorter
    assert rows[1].corpus_missing is None


def test_an_asynchronous_round_trains_no_more_than_its_buffer_holds() -> None:
    for buffer, trained in ((3, 3), (30, 8)):  # 8 a round are trained for real at most
        close = f"rounds.close={{policy: async, buffer: {buffer}}}"
        row = learning_outlook(load("quickstart", [close]).scenario)[0]
        assert row.steps == 24 * trained * 8


def test_a_timing_only_scenario_and_an_unknown_machine() -> None:
    assert learning_outlook(load("paper/fl10-nvidia-a40").scenario) == []
    with pytest.raises(InputError):
        learning_outlook(load("quickstart").scenario, ("abacus",))


def test_validate_says_it() -> None:
    done = CliRunner().invoke(command, ["paper/fl10-real", "--json", "--host", "raspberry-pi-4"])
    assert done.exit_code == 0, done.output
    (row,) = json.loads(done.stdout)["learning"]
    assert json.loads(done.stdout)["examples"] == {"clock": {"least": 19_500, "mean": 19_500, "most": 19_500}}
    assert row["fits"] is False
    said = CliRunner().invoke(command, ["paper/fl10-real", "--host", "raspberry-pi-4"]).stdout
    assert "7,312,500 optimizer steps" in said
    assert "a client's round is 19,500 examples; really trained is 1 epoch on what it holds" in said
    assert "--set learning.corpus.path=PATH" in said
