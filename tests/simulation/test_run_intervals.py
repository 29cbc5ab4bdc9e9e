"""Intervals of a run: its clock repeated under drawn speeds of the devices."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest

from fedsim import api, hardware, yamlfile
from fedsim.engine.server import Simulation
from fedsim.errors import InputError, RunError
from fedsim.pricing import Pricer, Technique, load_trace
from fedsim.results import RunWriter
from fedsim.scenario import load
from fedsim.simulation import compose, execute, repeats
from fedsim.simulation.forecast import forecast
from fedsim.simulation.outlook import outlook
from fedsim.simulation.repeats import usual_draws

Z = NormalDist().inv_cdf(0.95)


def scenario(mix, clients=1, rounds=1, cohort=1, **more):
    return {
        "name": "drawn",
        "seed": 3,
        "fleet": {"clients": clients, "mix": mix},
        "workload": {"utterances": 8, "max_seconds": 6},
        "training": {"model": "wav2vec2-base", "batch_size": 2},
        "rounds": {"count": rounds, "cohort": cohort},
        **more,
    }


def entry(device, share=1.0, link="ethernet"):
    return {"device": device, "share": share, "link": link}


def error_of(device):
    return Pricer(hardware.load_device(device), load_trace("wav2vec2-base"), Technique()).standard_error


@pytest.mark.parametrize("device", ["jetson-xavier-nx", "nvidia-a100-40gb", "macbook-pro-2019"])
def test_one_client_s_interval_is_that_of_its_training_between_what_is_fixed(tmp_path, device):
    assert hardware.load_device(device).throttle_after_s is None
    run = api.run(scenario([entry(device)], rounds=2), tmp_path / "run", draws=10)
    row = run.clients.iloc[0]
    fixed_s = row.download_s + row.startup_s + row.upload_s
    compute_s, off = row.compute_s, error_of(device) ** Z
    ends = run.summary["interval"]
    low_s, high_s = fixed_s + compute_s / off, fixed_s + compute_s * off
    for name, rounds in (("end_s", 2), ("mean_round_s", 1), ("longest_round_s", 1)):
        assert ends[name] == {
            "low": pytest.approx(rounds * low_s, rel=1e-9),
            "high": pytest.approx(rounds * high_s, rel=1e-9),
            "level": 0.9,
            "draws": 10,
        }
    trained = run.summary["devices"][device]["interval"]["mean_compute_s"]
    assert trained["high"] == pytest.approx(compute_s * off, rel=1e-9)
    watts = hardware.load_device(device).active_w
    energy = run.summary["energy_j"]
    assert ends["energy_j"]["high"] - energy == pytest.approx(2 * watts * compute_s * (off - 1), rel=1e-9)
    by_round = pd.read_parquet(tmp_path / "run" / "intervals.parquet")
    assert by_round.end_high_s.tolist() == pytest.approx([high_s, 2 * high_s], rel=1e-9)
    assert by_round.length_low_s.tolist() == pytest.approx([low_s, low_s], rel=1e-9)


def test_a_calibrated_device_shows_how_narrow_its_interval_is(tmp_path):
    widths = {}
    for device in ("jetson-xavier-nx", "nvidia-a100-40gb"):
        run = api.run(scenario([entry(device)]), tmp_path / device, draws=10)
        found = run.summary["devices"][device]["interval"]["mean_compute_s"]
        widths[device] = found["high"] / found["low"]
    assert 1.0 < widths["jetson-xavier-nx"] < widths["nvidia-a100-40gb"]


def test_two_entries_with_one_device_err_together_and_two_devices_do_not(tmp_path):
    same = compose(load_of(tmp_path, [entry("jetson-xavier-nx", 0.5), entry("jetson-xavier-nx", 0.5, "lte")]))
    assert same.devices == ("jetson-xavier-nx",)
    mixed = [entry("jetson-agx-xavier", 0.5), entry("jetson-xavier-nx", 0.5)]
    both = compose(load_of(tmp_path, mixed))
    slow = [both.world.at_speeds(s) for s in speeds(both, 10)]
    clients = np.arange(both.clients)
    plain = both.world.estimate(clients, 0, 0.0)
    seen = set()
    for world in slow:
        drawn = world.estimate(clients, 0, 0.0)
        ratio = drawn.compute_s / plain.compute_s
        for position in range(2):  # all clients of a device by one factor
            mine = ratio[both.world.device == position]
            assert mine == pytest.approx(mine[0], rel=1e-12)
        seen.add(bool(ratio[both.world.device == 0][0] > 1) == bool(ratio[both.world.device == 1][0] > 1))
        for name in ("download_bytes", "footprint_bytes", "available_bytes", "examples"):
            assert (getattr(drawn, name) == getattr(plain, name)).all()
    assert seen == {True, False}


def load_of(tmp_path, mix):
    return load_mapping(tmp_path, scenario(mix, clients=12, cohort=4))


def speeds(composition, draws):
    from fedsim.pricing.uncertainty import factors

    return factors([kind.pricers for kind in composition.kinds], composition.plan.seed, draws)


def test_without_draws_a_run_has_the_bytes_that_it_had_before(tmp_path):
    mix = [entry("jetson-xavier-nx", 0.5), entry("raspberry-pi-4", 0.5, "lte")]
    api.run(scenario(mix, 8, 3, 4), tmp_path / "none", draws=0)
    api.run(scenario(mix, 8, 3, 4), tmp_path / "some", draws=9)
    none, some = (json.loads((tmp_path / d / "summary.json").read_text()) for d in ("none", "some"))
    assert some.pop("interval")
    assert all(device.pop("interval") for device in some["devices"].values())
    assert some == none
    for table in ("rounds", "clients", "convergence"):
        one, other = (tmp_path / d / f"{table}.parquet" for d in ("none", "some"))
        assert one.read_bytes() == other.read_bytes()
    assert not (tmp_path / "none" / "intervals.parquet").exists()
    manifests = [json.loads((tmp_path / d / "manifest.json").read_text()) for d in ("none", "some")]
    assert "draws" not in manifests[0]
    assert manifests[1]["draws"] == 9


def test_equal_runs_have_equal_intervals_and_another_device_changes_no_other_s(tmp_path):
    for name in ("one", "two"):
        api.run(scenario([entry("jetson-xavier-nx")], 4, 2, 2), tmp_path / name)
    assert (tmp_path / "one" / "summary.json").read_bytes() == (
        tmp_path / "two" / "summary.json"
    ).read_bytes()
    alone = compose(load_of(tmp_path, [entry("jetson-xavier-nx")]))
    joined = compose(load_of(tmp_path, [entry("jetson-agx-xavier", 0.5), entry("jetson-xavier-nx", 0.5)]))
    assert (speeds(alone, 16)[:, 0, 0] == speeds(joined, 16)[:, 0, 1]).all()


@pytest.mark.parametrize(
    ("rounds", "cohort", "draws"), [(1, 1, 100), (24, 20, 20), (100, 10, 10), (5000, 100, 10), (0, 7, 0)]
)
def test_how_many_draws_there_are_is_a_matter_of_client_rounds(rounds, cohort, draws):
    from fedsim.engine.plan import Plan

    assert usual_draws(Plan(rounds=rounds, cohort=cohort)) == draws


@pytest.mark.parametrize("draws", [-1, 10_001])
def test_a_number_of_draws_that_cannot_be_is_said(tmp_path, draws):
    with pytest.raises(InputError, match="give from 0 to 10,000"):
        api.run(scenario([entry("jetson-xavier-nx")]), tmp_path / "run", draws=draws)
    assert not (tmp_path / "run").exists()


def test_a_deadline_that_only_fast_devices_meet_shows_in_the_interval(tmp_path):
    """The server waits for whoever is asked up to the deadline; a draw that is slow ends there."""
    mix = [entry("nvidia-a100-40gb", link="instant")]
    plain = api.run(scenario(mix), tmp_path / "plain", draws=10)
    end = (plain.summary["end_s"] + plain.summary["interval"]["end_s"]["high"]) / 2
    close = {"policy": "deadline", "after": f"{end}s"}
    asked = scenario(mix)
    asked["rounds"]["close"] = close
    run = api.run(asked, tmp_path / "run", draws=10)
    assert run.summary["interval"]["end_s"]["high"] == pytest.approx(end)
    assert run.summary["interval"]["wasted_j"]["low"] == 0.0 < run.summary["interval"]["wasted_j"]["high"]
    assert run.summary["devices"]["nvidia-a100-40gb"]["interval"]["mean_compute_s"]["high"] is None


def test_a_run_killed_in_its_draws_goes_on_with_the_same_bytes(tmp_path, monkeypatch):
    asked = load_file(tmp_path)
    whole = execute.run(asked, tmp_path / "whole", draws=11)
    with monkeypatch.context() as patch:

        def die(*_):
            raise KeyboardInterrupt

        patch.setattr(repeats, "_repeat", die)
        with pytest.raises(KeyboardInterrupt):
            execute.run(asked, tmp_path / "killed", draws=11)
    rounds = []
    with monkeypatch.context() as patch:
        told = RunWriter.round
        patch.setattr(RunWriter, "round", lambda *a, **k: (rounds.append(1), told(*a, **k)))
        execute.resume(tmp_path / "killed")
    assert rounds == []  # all of them were there
    assert sorted(p.name for p in whole.iterdir()) == sorted(p.name for p in (tmp_path / "killed").iterdir())
    for file in whole.iterdir():
        if file.name != "manifest.json":
            assert file.read_bytes() == (tmp_path / "killed" / file.name).read_bytes()


def load_file(tmp_path):
    file = tmp_path / "asked.yaml"
    mix = [entry("jetson-xavier-nx", 0.5), entry("raspberry-pi-4", 0.5, "lte")]
    file.write_text(yamlfile.dump(scenario(mix, 8, 4, 4)), encoding="utf-8")
    return load(file)


@pytest.mark.parametrize("draws", ["many", -3, 10**9])
def test_a_manifest_with_another_number_of_draws_is_refused(tmp_path, monkeypatch, draws):
    monkeypatch.setattr(repeats, "_repeat", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        execute.run(load_file(tmp_path), tmp_path / "run", draws=10)
    file = tmp_path / "run" / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "draws": draws}))
    with pytest.raises(RunError, match="draws: is damaged"):
        execute.resume(tmp_path / "run")


def test_a_learned_curve_keeps_its_rounds_and_its_times_have_intervals(tmp_path):
    learning = {"corpus": {"speakers": 4, "minutes": 0.5}, "clients_per_round": 1, "local_steps": 1}
    asked = scenario([entry("jetson-xavier-nx")], 3, 2, 2, learning=learning)
    del asked["workload"]
    asked["training"] = {"model": "wav2vec2-base", "batch_size": 2}
    run = api.run(asked, tmp_path / "run", workers=1)
    by_round = pd.read_parquet(tmp_path / "run" / "intervals.parquet")
    for metrics in run.summary["metrics"].values():
        for found in metrics.values():
            assert ("first_s" in found["interval"]) == (found["first_s"] > 0.0)  # else the initial model's
            last = found["interval"]["last_s"]
            assert (last["low"], last["high"]) == (by_round.end_low_s[1], by_round.end_high_s[1])
            assert last["low"] < found["last_s"] < last["high"]
    assert math.isfinite(run.summary["interval"]["end_s"]["high"])


@pytest.mark.parametrize("rounds", [1, 2, 40])
def test_a_forecast_s_interval_is_that_of_the_run(tmp_path, rounds):
    """Of equal rounds the first two are enough to know by how much all may be off."""
    asked = scenario([entry("nvidia-a100-40gb")], rounds=rounds)
    composition = compose(load_mapping(tmp_path, asked))
    told = forecast(composition, look_s=1e9, most=2, draws=10)
    run = api.run(asked, tmp_path / "run", draws=10).summary
    for name, whole in (("end_s", "end_s"), ("round_s", "mean_round_s"), ("longest_s", "longest_round_s")):
        for key in ("low", "high", "level", "draws"):
            assert told.interval[name][key] == pytest.approx(run["interval"][whole][key], rel=1e-9)
    assert told.interval["energy_j"]["low"] * rounds == pytest.approx(run["interval"]["energy_j"]["low"])
    assert forecast(composition, look_s=1e9, most=2).interval == {}


def test_a_forecast_of_what_slow_devices_never_finish_is_open_above(tmp_path, monkeypatch):
    composition = compose(load_mapping(tmp_path, scenario([entry("nvidia-a100-40gb")], rounds=3)))
    real, made = Simulation.__init__, []

    def at_most(self, world, plan, *rest):
        made.append(world)
        slow = len(made) > 1 and world.compute_s.sum() > composition.world.compute_s.sum()
        real(self, world, replace(plan, rounds=1) if slow else plan, *rest)

    monkeypatch.setattr(Simulation, "__init__", at_most)
    told = forecast(composition, look_s=1e9, draws=10).interval["end_s"]
    assert told["low"] is not None
    assert told["high"] is None


@pytest.mark.parametrize("device", ["jetson-xavier-nx", "nvidia-a100-40gb", "macbook-pro-2019"])
def test_the_outlook_s_training_has_the_interval_of_its_device(tmp_path, device):
    row, other = outlook(compose(load_of(tmp_path, [entry(device, 0.5), entry("raspberry-pi-5", 0.5)])))
    row = row if row.device == device else other
    off = error_of(device) ** Z
    assert row.interval["compute_s"]["low"] == pytest.approx(row.compute_s / off)
    assert row.interval["compute_s"]["high"] == pytest.approx(row.compute_s * off)


def load_mapping(tmp_path, content):
    file = tmp_path / "mapping.yaml"
    file.write_text(yamlfile.dump(content), encoding="utf-8")
    return load(file).scenario


@pytest.mark.parametrize("baseline", ["local-only", "centralised"])
def test_baselines_have_intervals_of_their_own_device(tmp_path, baseline):
    """Both send nothing, so all of their clock is training."""
    learning = {"corpus": {"speakers": 4, "minutes": 0.5}, "baseline": baseline}
    learning |= {"alone": 1} if baseline == "local-only" else {}
    mix = [entry("jetson-xavier-nx")]
    asked = scenario(mix, 3, 2, 2, learning=learning, server={"device": "nvidia-a100-40gb"})
    composition = compose(load_mapping(tmp_path, asked))
    ends = [record.end_s for record in Simulation(composition.world, composition.plan)]
    found = repeats.intervals(composition, 10, 2)
    off = error_of("jetson-xavier-nx" if baseline == "local-only" else "nvidia-a100-40gb") ** Z
    assert found.end_s[0] == pytest.approx(np.array(ends) / off)
    assert found.end_s[1] == pytest.approx(np.array(ends) * off)


@pytest.mark.parametrize(
    "close", [{"policy": "async", "buffer": 2}, {"policy": "quorum", "over": 0.5}, {"policy": "wait-all"}]
)
def test_every_way_to_close_rounds_has_intervals_around_its_rounds(tmp_path, close):
    asked = scenario([entry("nvidia-a100-40gb", link="instant")], 6, 4, 3)
    asked["rounds"]["close"] = close
    run = api.run(asked, tmp_path / "run", draws=10)
    by_round = pd.read_parquet(tmp_path / "run" / "intervals.parquet")
    assert (by_round.end_low_s < run.rounds.end_s).all()
    assert (run.rounds.end_s < by_round.end_high_s).all()
