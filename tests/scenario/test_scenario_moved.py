"""Keys of earlier versions keep working and say so once."""

import subprocess
import sys

import pytest

from fedsim import scenario
from fedsim.errors import MovedKeyWarning, ScenarioError
from fedsim.scenario import sweep

TEXT = """
fleet: {clients: 4, mix: [{device: raspberry-pi-4, share: 1.0}]}
rounds: {count: 1, cohort: 2}
server: {device: nvidia-a40}
learning: {yardstick: centralised, corrupt: {kind: nan, share: 0.5}}
"""


def test_moved_keys_keep_working(tmp_path):
    (tmp_path / "old.yaml").write_text(TEXT)
    with pytest.warns(MovedKeyWarning) as said:
        got = scenario.load(tmp_path / "old.yaml").scenario.learning
    assert [str(one.message) for one in said] == [
        "the key learning.yardstick is now called learning.baseline",
        "the key learning.corrupt is now called learning.byzantine",
    ]
    assert (got.baseline, got.byzantine.kind) == ("centralised", "nan")


def test_an_override_by_the_old_name_overrides_the_new_one(tmp_path):
    (tmp_path / "new.yaml").write_text(TEXT.replace("yardstick", "baseline").replace("corrupt", "byzantine"))
    with pytest.warns(MovedKeyWarning, match="byzantine"):
        got = scenario.load(tmp_path / "new.yaml", ["learning.corrupt.share=0.25"]).scenario.learning
    assert got.byzantine.share == 0.25


def test_an_axis_of_a_sweep_by_the_old_name(tmp_path):
    (tmp_path / "s.yaml").write_text(TEXT + "sweep: {learning.corrupt.share: [0.1, 0.2]}\n")
    with pytest.warns(MovedKeyWarning):
        points = sweep.load(tmp_path / "s.yaml").points
    assert [p.scenario.learning.byzantine.share for p in points] == [0.1, 0.2]


def test_both_names_at_once_are_refused(tmp_path):
    (tmp_path / "two.yaml").write_text(TEXT.replace("{yardstick", "{baseline: local-only, yardstick"))
    with pytest.raises(ScenarioError, match=r"learning.yardstick: is the old name of learning.baseline"):
        scenario.load(tmp_path / "two.yaml")


def test_the_command_line_says_it_in_one_line_and_once(tmp_path):
    (tmp_path / "old.yaml").write_text(TEXT)
    asked = [sys.executable, "-m", "fedsim", "validate", str(tmp_path / "old.yaml")]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stderr
    assert said.count("fedsim: the key learning.yardstick is now called learning.baseline\n") == 1
    assert "Warning" not in said


RULE = """
fleet: {clients: 4, mix: [{device: raspberry-pi-4, share: 1.0}]}
rounds: {count: 1, cohort: 2, aggregate: fedprox}
learning: {proximal: 0.5, trim: 0.2}
"""


def test_an_option_of_the_rule_goes_to_the_rule_and_others_are_said_to_say_nothing(tmp_path):
    (tmp_path / "old.yaml").write_text(RULE)
    with pytest.warns(MovedKeyWarning) as said:
        got = scenario.load(tmp_path / "old.yaml").scenario.rounds.aggregate
    assert (got.name, got.proximal) == ("fedprox", 0.5)
    assert sorted(str(one.message) for one in said) == [
        "the key learning.proximal is now called rounds.aggregate.proximal",
        "the key learning.trim is now an option of rules in rounds.aggregate; fedprox has no such option",
    ]


def test_an_option_of_the_rule_goes_to_the_rule_that_an_override_names(tmp_path):
    (tmp_path / "old.yaml").write_text(RULE.replace("fedprox", "fedavg"))
    with pytest.warns(MovedKeyWarning):
        got = scenario.load(tmp_path / "old.yaml", ["rounds.aggregate=fedprox"]).scenario.rounds.aggregate
    assert got.proximal == 0.5
    with pytest.warns(MovedKeyWarning):
        got = scenario.load(tmp_path / "old.yaml", ["learning.trim=0.3", "rounds.aggregate=trimmed-mean"])
    assert got.scenario.rounds.aggregate.trim == 0.3


def test_an_option_of_the_rule_goes_to_the_rule_of_each_point_of_a_sweep(tmp_path):
    (tmp_path / "s.yaml").write_text(RULE + "sweep: {rounds.aggregate: [fedavg, fedprox, trimmed-mean]}\n")
    with pytest.warns(MovedKeyWarning):
        rules = [point.scenario.rounds.aggregate for point in sweep.load(tmp_path / "s.yaml").points]
    assert (rules[1].proximal, rules[2].trim) == (0.5, 0.2)


def test_an_option_of_the_rule_under_both_names_is_refused(tmp_path):
    (tmp_path / "two.yaml").write_text(RULE.replace("fedprox}", "{kind: fedprox, proximal: 0.1}}"))
    with pytest.warns(MovedKeyWarning), pytest.raises(ScenarioError, match=r"learning.proximal: is the old"):
        scenario.load(tmp_path / "two.yaml")
