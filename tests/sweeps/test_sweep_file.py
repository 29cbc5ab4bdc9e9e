"""What a sweep file says, and what it must not say."""

import re

import pytest

from fedsim import paths
from fedsim.errors import ScenarioError
from fedsim.scenario.sweep import load

from .conftest import TIMING


def parameters(sweep):
    return [dict(point.parameters) for point in sweep.points]


def test_a_grid_is_the_product_and_the_last_axis_is_fastest(sweep_of):
    sweep = sweep_of(TIMING, "sweep: {rounds.count: [1, 2], rounds.cohort: [3, 4, 5]}")
    assert [(p["rounds.count"], p["rounds.cohort"]) for p in parameters(sweep)] == [
        (1, 3),
        (1, 4),
        (1, 5),
        (2, 3),
        (2, 4),
        (2, 5),
    ]
    assert [point.number for point in sweep.points] == list(range(6))
    assert [(p.scenario.rounds.count, p.scenario.rounds.cohort) for p in sweep.points][4] == (2, 4)
    assert {point.scenario.name for point in sweep.points} == {"small"}


@pytest.mark.parametrize(
    ("stem", "name"), [("my sweep", "my-sweep"), ("年", "sweep"), ("all (2)", "all-2"), ("years", "years")]
)
def test_any_file_name_makes_a_plain_name(stem, name, tmp_path):
    file = tmp_path / f"{stem}.yaml"
    text = (paths.data_dir("scenarios") / "sweeps" / "years.yaml").read_text(encoding="utf-8")
    file.write_text(re.sub("(?m)^name: .*\n", "", text), encoding="utf-8")
    assert load(file).name == name


def test_zipped_keys_change_together_and_count_lists_with_dots_or_brackets(sweep_of):
    block = """
sweep:
  rounds.count: [1, 2]
  zip:
    fleet.mix.0.device: [jetson-agx-xavier, nvidia-a40]
    fleet.mix[1].link: [ethernet, 5g]
"""
    sweep = sweep_of(TIMING, block)
    assert sweep.columns == ("rounds.count", "fleet.mix[0].device", "fleet.mix[1].link")
    mixes = [point.scenario.fleet.mix for point in sweep.points]
    found = [(mix[0].device, mix[1].device, mix[1].link) for mix in mixes]
    assert found == 2 * [
        ("jetson-agx-xavier", "raspberry-pi-4", "ethernet"),
        ("nvidia-a40", "raspberry-pi-4", "5g"),
    ]


def test_cases_are_named_sets_of_changes(sweep_of):
    block = """
sweep:
  cases:
    plain: {}
    async of 3: {rounds.close: {policy: async, buffer: 3}, rounds.count: 9}
"""
    plain, changed = sweep_of(TIMING, block).points
    assert plain.parameters == {"case": "plain"}
    assert plain.scenario.rounds.close.policy == "deadline"
    assert (changed.scenario.rounds.close.buffer, changed.scenario.rounds.count) == (3, 9)


def test_overrides_apply_to_every_point(sweep_of):
    sweep = sweep_of(TIMING, "sweep: {rounds.count: [1, 2]}", ["seed=9", "fleet.clients=12"])
    assert [(p.scenario.seed, p.scenario.fleet.clients) for p in sweep.points] == 2 * [(9, 12)]


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("", "has no sweep block"),
        ("sweep: {}", "sweep: has no axis"),
        ("sweep: [1]", "sweep: is not a block"),
        ("sweep: {figures: [end_s]}", "sweep: has no axis"),
        ("sweep: {rounds.count: []}", "sweep.rounds.count: is an empty axis"),
        ("sweep: {rounds.count: 3}", r"sweep.rounds.count: 3 is not a list of values; write \[3\]"),
        (
            "sweep: {rounds.chorot: [1, 2]}",
            "rounds.chorot: 'chorot' is not a known key; did you mean 'cohort'",
        ),
        ("sweep: {fleet.mix.7.share: [1.0]}", "the list on the way has 2 entries"),
        ("sweep: {rounds.count: [1, 2, 1]}", "the points rounds.count=1 and rounds.count=1 are the same"),
        ("sweep: {name: [a, b]}", "the points name=a and name=b are the same"),
        (
            "sweep: {zip: {rounds.count: [1, 2], seed: [1, 2, 3]}}",
            "sweep.zip: its lists must be of equal length: rounds.count has 2, seed has 3",
        ),
        ("sweep: {zip: {}}", "sweep.zip: is not a block"),
        ("sweep: {zip: {seed: []}}", "sweep.zip.seed: is an empty axis"),
        ("sweep: {cases: {}}", "sweep.cases: is an empty axis"),
        ("sweep: {cases: {one: 1}}", "sweep.cases.one: 1 is not a block"),
        ("sweep: {seed: [1], zip: {seed: [2]}}", "'seed' is on two axes"),
        ("sweep: {seed: [1], cases: {one: {seed: 2}}}", "'seed' is changed by two axes"),
        ("sweep: {rounds.count: [3, 0]}", "rounds.count: 0 is not at least 1"),
        ("sweep: {fleet.mix: [[]]}", "fleet.mix"),
        (
            "sweep: {fleet.mix.0.share: [0.5, 0.6]}",
            r"add up to 1.1; .* at the point fleet.mix\[0\].share=0.6",
        ),
        ("sweep: {seed: [1], figures: end_s}", "sweep.figures: is not a list"),
        ("sweep: {a..b: [1]}", "is not a key path"),
    ],
)
def test_refusals_are_one_sentence(sweep_of, block, said):
    with pytest.raises(ScenarioError, match=said) as caught:
        sweep_of(TIMING, block)
    assert "\n" not in str(caught.value)


def test_a_grid_that_is_too_large_is_refused_before_it_is_built(sweep_of):
    values = ", ".join(map(str, range(1, 201)))
    with pytest.raises(ScenarioError, match="40,000 points; 20,000 are possible"):
        sweep_of(TIMING, f"sweep: {{seed: [{values}], rounds.count: [{values}]}}")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("rounds.count=7", "is an axis of the sweep"),
        ("fleet.mix.0.link=5g", "is an axis of the sweep"),
        ("sweep.seed=1", "can only be changed in the file"),
    ],
)
def test_overrides_that_would_change_nothing_are_refused(sweep_of, override, said):
    block = "sweep: {rounds.count: [1], zip: {'fleet.mix[0].link': [wifi]}}"
    with pytest.raises(ScenarioError, match=said):
        sweep_of(TIMING, block, [override])


def test_an_unknown_name_says_what_there_is():
    from fedsim.scenario import sweep

    with pytest.raises(
        ScenarioError, match="'yaers' is not a known sweep and not a file; did you mean 'years'"
    ):
        sweep.load("yaers")


def test_the_sweeps_that_ship_are_valid_and_the_years_are_110_points():
    from fedsim import paths
    from fedsim.scenario import sweep
    from fedsim.simulation.compose import check

    found = {name: sweep.load(name) for name in paths.names("scenarios/sweeps", ".yaml")}
    assert len(found["years"].points) == 11 * 5 * 2
    for one in found.values():
        for point in one.points[:: max(1, len(one.points) // 6)]:
            check(point.scenario)
