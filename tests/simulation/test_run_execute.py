"""Whole runs: same seed same bytes, learning changes no timestamp, an interrupted run goes on."""

import pandas as pd
import pytest

from fedsim import results
from fedsim import simulation as run
from fedsim.scenario import load
from fedsim.simulation import state

TIMING = """
seed: 3
fleet:
  clients: 30
  mix:
    - {device: jetson-xavier-nx, share: 0.5, link: wifi, speed_spread: 0.1}
    - device: a15-bionic
      share: 0.5
      link: lte
      availability: {kind: markov, mean_online: 1h, mean_offline: 1h}
      pressure: phone
rounds: {count: 5, cohort: 8, close: {policy: deadline, after: 20min}, aggregate: loss-weighted}
"""
LEARNING = """
learning:
  corpus: {speakers: 6, minutes: 1}
  clients_per_round: 2
  local_steps: 1
  batch_size: 2
  crop_seconds: 1.0
  evaluation_seconds: 4
"""
TABLES = ("rounds.parquet", "clients.parquet", "convergence.parquet")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("FEDSIM_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def scenario(tmp_path):
    def scenario(text, *overrides):
        file = tmp_path / "it.yaml"
        file.write_text(text)
        return load(file, overrides)

    return scenario


def tables(directory):
    return {name: (directory / name).read_bytes() for name in TABLES}


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(scenario, tmp_path):
    one = tables(run.run(scenario(TIMING + LEARNING), tmp_path / "one"))
    two = tables(run.run(scenario(TIMING + LEARNING), tmp_path / "two", workers=2))
    other = tables(run.run(scenario(TIMING + LEARNING, "seed=4"), tmp_path / "other"))
    for name in TABLES:
        assert one[name] == two[name], name
        assert one[name] != other[name], name


def test_learning_changes_no_timestamp(scenario, tmp_path):
    learnt = results.load(run.run(scenario(TIMING + LEARNING), tmp_path / "learnt"))
    timed = results.load(run.run(scenario(TIMING), tmp_path / "timed"))
    same = [name for name in learnt.clients.columns if name not in ("weight", "loss", "examples")]
    pd.testing.assert_frame_equal(learnt.clients[same], timed.clients[same], check_exact=True)
    other = learnt.clients["examples"] != timed.clients["examples"]
    assert set(learnt.clients.loc[other, "outcome"]) == {"completed"}  # the examples really trained on
    assert timed.clients["loss"].isna().all()
    assert learnt.clients["loss"].notna().sum() == 2 * len(learnt.rounds)
    assert timed.convergence.empty


def test_rows_add_up(scenario, tmp_path):
    found = results.load(run.run(scenario(TIMING + LEARNING), tmp_path / "run"))
    by_round = found.clients.groupby("round")
    for column in ("energy_j", "downloaded_bytes", "uploaded_bytes"):
        assert by_round[column].sum().to_numpy() == pytest.approx(found.rounds[column].to_numpy(), rel=1e-12)
    for outcome in ("completed", "late", "oom", "offline"):
        counted = (found.clients["outcome"] == outcome).groupby(found.clients["round"]).sum()
        assert counted.to_list() == found.rounds[outcome].to_list()
    weights = found.clients.loc[found.clients["outcome"] == "completed"].groupby("round")["weight"].sum()
    assert weights.to_numpy() == pytest.approx(1.0, abs=1e-12)


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("text", [TIMING, TIMING + LEARNING], ids=["timing", "learning"])
@pytest.mark.parametrize("stop", [1, 3])
def test_an_interrupted_run_goes_on_to_the_same_bytes(scenario, tmp_path, text, stop, stop_after):
    whole = tables(run.run(scenario(text), tmp_path / "whole"))
    with pytest.raises(Interrupted):
        run.run(scenario(text), tmp_path / "cut", progress=stop_after(stop, Interrupted))
    assert len(results.load(tmp_path / "cut").rounds) == stop
    assert tables(run.resume(tmp_path / "cut")) == whole


def test_a_damaged_scenario_is_refused_on_resume_by_its_file_and_key(scenario, tmp_path, stop_after):
    from fedsim.errors import ScenarioError

    with pytest.raises(Interrupted):
        run.run(scenario(TIMING), tmp_path / "cut", progress=stop_after(1, Interrupted))
    file = tmp_path / "cut" / "scenario.yaml"
    text = file.read_text()
    assert "mean_online: 1h" in text
    file.write_text(text.replace("mean_online: 1h", "mean_online: 20000d"))
    with pytest.raises(ScenarioError) as caught:
        run.resume(tmp_path / "cut")
    said = f"{file}: fleet.mix[1].availability.mean_online: is '20000d'; give a mean time from 1s to 10000d"
    assert str(caught.value) == said


def test_a_finished_run_or_no_run_cannot_be_resumed(scenario, tmp_path):
    from fedsim.errors import RunError

    run.run(scenario(TIMING, "rounds.count=1"), tmp_path / "done")
    with pytest.raises(RunError, match="finished"):
        run.resume(tmp_path / "done")
    with pytest.raises(RunError, match=r"no scenario\.yaml"):
        run.resume(tmp_path / "nowhere")


def test_an_engines_state_is_read_back_equal_and_damage_is_noticed(tmp_path):
    import numpy as np

    from fedsim.errors import RunError

    kept = {"next_round": 3, "now_s": 1.5, "selector": {"a": np.array([1.5, np.inf])}, "ledger": {}}
    for rounds in (1, 2, 3):
        state.save(tmp_path, rounds, kept, "name: x")
    assert state.available(tmp_path) == [2, 3]
    again = state.read(tmp_path, 3, "name: x")
    assert again["selector"]["a"].tolist() == [1.5, np.inf]
    assert again["selector"]["a"].dtype == np.float64
    with pytest.raises(RunError, match="damaged"):
        state.read(tmp_path, 2, "name: x")
    (tmp_path / "engine-00003.json").write_text('{"next_round": 3')
    with pytest.raises(RunError, match="damaged"):
        state.read(tmp_path, 3, "name: x")
