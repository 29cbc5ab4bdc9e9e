"""The public surface: what ``import fedsim`` promises, and that it is what the verbs do."""

import inspect
import json
import pickle
import pkgutil
import subprocess
import sys

import pytest

import fedsim
from fedsim import api, yamlfile
from fedsim.cli import main

SCENARIO = {
    "name": "three",
    "fleet": {"clients": 3, "mix": [{"device": "jetson-xavier-nx", "share": 1.0, "link": "instant"}]},
    "workload": {"utterances": 8, "mean_seconds": 5.5},
    "training": {"batch_size": 1},
    "rounds": {"count": 4, "cohort": 3},
}


FUNCTIONS = ("cost", "load", "run", "sweep", "trace")


def test_every_public_name_is_there_and_no_other_is_promised():
    for name in fedsim.__all__:
        assert getattr(fedsim, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = fedsim.nothing


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_public_function_is_a_plain_function_of_one_module(name):
    function = getattr(fedsim, name)
    assert inspect.isfunction(function)
    assert pickle.loads(pickle.dumps(function)) is getattr(api, name)


def test_no_room_has_the_name_of_a_function():
    rooms = {module.name for module in pkgutil.iter_modules(fedsim.__path__)}
    assert not rooms & set(FUNCTIONS)


def test_import_is_light():
    code = "import sys, fedsim; print(sorted({'torch', 'pandas', 'numpy', 'pydantic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_mapping_runs_as_its_file_does(tmp_path):
    one = fedsim.run(SCENARIO, tmp_path / "one", changes={"rounds.count": 2}, seed=5)
    assert list(one.rounds["completed"]) == [3, 3]
    assert one.scenario["seed"] == 5
    again = fedsim.run(tmp_path / "one" / "scenario.yaml", tmp_path / "two")
    assert again.rounds.equals(one.rounds)
    assert fedsim.load(tmp_path / "two").summary == one.summary


def test_a_mapping_that_is_wrong_is_told_by_its_key():
    with pytest.raises(fedsim.InputError, match=r"^scenario: rounds.cohort: 0 is not at least 1"):
        fedsim.run({**SCENARIO, "rounds": {"count": 1, "cohort": 0}})
    with pytest.raises(fedsim.InputError, match="did you mean 'count'"):
        fedsim.run(SCENARIO, changes={"rounds.cuont": 3})


@pytest.mark.parametrize(
    ("scenario", "changes", "sentence"),
    [
        (SCENARIO, {"rounds.count": "x"}, "rounds.count: 'x' is not a whole number"),
        ("quickstart", {"fleet.mix[0].share": 2}, "fleet.mix[0].share: 2 is not at most 1"),
        (SCENARIO, {"rounds.cohort": 0}, "rounds.cohort: 0 is not at least 1"),
        (
            {**SCENARIO, "fleet": {"clients": 1, "mix": [{**SCENARIO["fleet"]["mix"][0], "battery": {}}]}},
            {},
            "scenario: fleet.mix[0]: jetson-xavier-nx has no battery of its own; give battery.capacity",
        ),
    ],
)
def test_what_is_wrong_is_not_said_of_a_file_that_nobody_wrote(scenario, changes, sentence, tmp_path):
    with pytest.raises(fedsim.InputError) as fault:
        fedsim.run(scenario, tmp_path / "out", changes=changes)
    assert str(fault.value) == sentence


def test_cost_is_what_the_verb_prints(capsys):
    arguments = ["cost", "--device", "raspberry-pi-4", "--model", "wav2vec2-base", "--batch", "4", "--json"]
    with pytest.raises(SystemExit):
        main(arguments)
    assert json.loads(capsys.readouterr().out) == fedsim.cost("raspberry-pi-4", "wav2vec2-base", batch=4)
    with pytest.raises(fedsim.InputError, match="at least 1"):
        fedsim.cost("raspberry-pi-4", "wav2vec2-base", batch=0)


def test_a_sweep_is_its_table(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDSIM_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "two.yaml"
    file.write_text(yamlfile.dump({**SCENARIO, "sweep": {"seed": [1, 2]}}), encoding="utf-8")
    table = fedsim.sweep(file, tmp_path / "two", changes={"rounds.count": 2}, workers=1)
    assert list(table["seed"]) == [1, 2]
    run = fedsim.run(SCENARIO, tmp_path / "one", changes={"rounds.count": 2}, seed=2)
    assert table["end_s"][1] == run.summary["end_s"]
    assert table.attrs["directory"] == str(tmp_path / "two")
