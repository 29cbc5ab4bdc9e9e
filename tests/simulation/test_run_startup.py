"""A client that starts afresh: download, startup, training, upload, by hand; and who does not."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from fedsim import paths
from fedsim.cli import fedsim as cli
from fedsim.errors import ScenarioError
from fedsim.scenario import load
from fedsim.simulation import compose, time_rounds
from fedsim.simulation.baseline import Alone

CLOSES = ["wait-all", "{policy: async, buffer: 1}"]


@pytest.fixture
def scenario(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "it.yaml").write_text(
        "fleet:\n  clients: 3\n  mix: [{device: raspberry-pi-5, share: 1.0, link: wifi}]\n"
        "workload: {examples: 8, sizes: {samples: 16000}}\ntraining: {model: wav2vec2-tiny}\n"
        "rounds: {count: 2, cohort: 1}\nserver: {uplink: unlimited, downlink: unlimited}\n"
    )
    return lambda *overrides: load(tmp_path / "it.yaml", overrides).scenario


@pytest.mark.parametrize("close", CLOSES)
@pytest.mark.parametrize("server", ["unlimited", "100GB/s"])
@pytest.mark.parametrize(("device", "startup_s"), [("raspberry-pi-5", 15.0), ("jetson-nano", 20.0)])
def test_a_round_by_hand(scenario, close, server, device, startup_s):
    settings = [f"rounds.close={close}", f"server.uplink={server}", f"server.downlink={server}"]
    settings += [f"fleet.mix[0].device={device}", "fleet.clients=1"]
    cold = compose(scenario(*settings))
    estimate = cold.world.estimate(np.array([0]), 0, 0.0)
    assert estimate.startup_s.tolist() == [startup_s]
    down = estimate.latency_s + estimate.download_bytes / estimate.down_bytes_per_s
    up = estimate.latency_s + estimate.upload_bytes / estimate.up_bytes_per_s
    whole = down + startup_s + 2 * float(cold.kinds[0].pricers[0].step_s(4, 16000)) + up
    for record in time_rounds(scenario(*settings)):
        rows = record.clients
        assert rows.outcome_names() == ["completed"]
        assert rows.startup_s == pytest.approx([startup_s])
        assert rows.ended_s - rows.dispatched_s == pytest.approx(whole, rel=1e-9)
        work = estimate.compute_w * (startup_s + rows.compute_s)
        assert rows.energy_j == pytest.approx(work + (estimate.idle_w + estimate.radio_w) * (down + up))


@pytest.mark.parametrize("close", CLOSES)
def test_a_warm_client_takes_its_startup_less(scenario, close):
    cold = time_rounds(scenario(f"rounds.close={close}"))
    warm = time_rounds(scenario(f"rounds.close={close}", "training.start=warm"))
    assert [round(one.end_s - other.end_s, 6) for one, other in zip(cold, warm, strict=True)] == [15.0, 30.0]
    assert all((record.clients.startup_s == 0.0).all() for record in warm)


def test_a_slower_client_starts_more_slowly(scenario):
    world = compose(scenario("fleet.mix[0].speed_spread=0.4")).world
    everyone = np.arange(3)
    assert world.estimate(everyone, 0, 0.0).startup_s == pytest.approx(15.0 / world.fleet.speed)


@pytest.mark.parametrize("client", [0, 1, 2])
def test_a_client_alone_runs_all_along(scenario, client):
    world = compose(scenario()).world
    assert world.estimate(np.array([client]), 0, 0.0).startup_s.tolist() == [15.0]
    assert Alone(world, client).estimate(np.array([0]), 0, 0.0).startup_s.tolist() == [0.0]


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_a_draw_of_the_speed_of_steps_leaves_the_start(scenario, factor):
    world = compose(scenario()).world
    drawn = world.at_speeds(np.full((1, 1), factor))
    one, other = (each.estimate(np.arange(3), 0, 0.0) for each in (world, drawn))
    assert other.startup_s.tolist() == one.startup_s.tolist() == [15.0] * 3
    assert other.compute_s == pytest.approx(factor * one.compute_s)


def test_a_start_can_miss_a_deadline(scenario):
    close = "rounds.close={policy: deadline, after: 12s}"
    cold, warm = time_rounds(scenario(close)), time_rounds(scenario(close, "training.start=warm"))
    assert [record.clients.outcome_names() for record in cold] == [["late"]] * 2
    assert [record.clients.outcome_names() for record in warm] == [["completed"]] * 2


def test_the_manifest_lists_the_file_that_a_start_comes_from(scenario):
    assert "hardware/startup.csv" in compose(scenario()).inputs
    assert "hardware/startup.csv" not in compose(scenario("training.start=warm")).inputs


def test_cold_is_the_default_and_another_word_is_refused(scenario):
    assert scenario().training.start == "cold"
    with pytest.raises(ScenarioError, match="start"):
        scenario("training.start=lukewarm")


@pytest.mark.parametrize("name", [f"paper/{n}" for n in paths.names("scenarios/paper", ".yaml")])
def test_the_study_has_clients_that_run_all_along(name):
    assert load(name).scenario.training.start == "warm"


def test_describe_and_validate_tell(scenario, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")

    def told(verb, *more):
        return CliRunner().invoke(cli, [verb, "it.yaml", *more], catch_exceptions=False).stdout

    scenario()
    warm = ("--set", "training.start=warm")
    for verb in ("describe", "validate"):
        assert "startup" in told(verb)
        assert "15 s" in told(verb)
        assert "startup" not in told(verb, *warm)
        assert json.loads(told(verb, "--json"))["devices"][0]["startup_s"] == 15.0
    assert "clients start afresh each time" in " ".join(told("describe").split())
    assert "afresh" not in told("describe", *warm)
