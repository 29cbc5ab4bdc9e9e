"""The scenarios of techniques that ship: each can be run, and the mixed fleet holds what it trains."""

from collections import Counter

import pytest

from fedsim import paths
from fedsim.scenario import load, sweep
from fedsim.simulation.compose import check, compose, federation_of
from fedsim.simulation.execute import time_rounds

FOLDER = paths.data_dir("scenarios") / "techniques"
NAMES = sorted(file.stem for file in FOLDER.glob("*.yaml"))
EVERY = "every-device-its-depth"


def outcomes(name):
    records = time_rounds(load(name, ["learning=null"]).scenario)
    return sum((Counter(record.clients.outcome_names()) for record in records), Counter())


@pytest.mark.parametrize("name", NAMES)
def test_every_scenario_can_be_run(name):
    scenario = load(f"techniques/{name}").scenario
    check(scenario)
    assert scenario.name == name
    assert federation_of(scenario) is not None


def test_there_is_one_for_each_technique_and_all_have_one_fleet_and_rounds():
    assert NAMES == [EVERY, "frozen-cnn", "full", "layer-wise", "lora", "progressive"]
    quickstart = load("quickstart").scenario
    for name in NAMES:
        found = load(f"techniques/{name}").scenario
        assert (found.seed, found.rounds, found.workload) == (
            quickstart.seed,
            quickstart.rounds,
            quickstart.workload,
        ), name
        assert [(e.device, e.share, e.link, e.pressure) for e in found.fleet.mix] == [
            (e.device, e.share, e.link, e.pressure) for e in quickstart.fleet.mix
        ], name
        assert found.learning == quickstart.learning, name


def test_the_sweep_holds_the_scenarios_as_its_cases():
    by_case = {point.parameters[sweep.CASE]: point.scenario for point in sweep.load("techniques").points}
    cases = {
        "full": "full",
        "frozen CNN": "frozen-cnn",
        "LoRA rank 8": "lora",
        "layer-wise": "layer-wise",
        "progressive": "progressive",
        "every device its depth": EVERY,
    }
    assert set(by_case) == set(cases)
    for case, name in cases.items():
        alone = load(f"techniques/{name}").scenario
        assert by_case[case].training == alone.training, case
        assert by_case[case].fleet == alone.fleet, case
        check(by_case[case])


def test_with_a_depth_for_every_device_nearly_all_complete():
    full, deep = outcomes("techniques/full"), outcomes(f"techniques/{EVERY}")
    assert full == outcomes("quickstart")
    assert full["oom"] / full.total() > 0.14
    assert deep["completed"] / deep.total() >= 0.95
    assert deep["oom"] < 0.01 * deep.total()


def test_a_layer_at_a_time_takes_the_least_memory():
    def most(name):
        kinds = compose(load(f"techniques/{name}", ["learning=null"]).scenario).kinds
        return max(float(p.footprint_bytes(4, 15 * 16_000)) for kind in kinds for p in kind.pricers)

    assert most("layer-wise") < most("frozen-cnn") < most("full")
