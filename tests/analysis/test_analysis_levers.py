"""The ranking of techniques: its years by hand, and the sweep and the table that ship."""

import csv
import importlib.util
import math
from pathlib import Path

import pytest

from fedsim.scenario import sweep as sweeps
from fedsim.units import DAY_S

ANALYSIS = Path(__file__).resolve().parents[2] / "analysis"


@pytest.fixture(scope="module")
def levers():
    spec = importlib.util.spec_from_file_location("levers", ANALYSIS / "levers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def table():
    with (ANALYSIS / "results" / "levers.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def points(days, completed, first=2022):
    """A year each; of 100 client-rounds so many complete."""
    return [
        {
            "hardware.year": first + number,
            "end_s": day * DAY_S,
            "outcomes.completed": done,
            "client_rounds": 100,
        }
        for number, (day, done) in enumerate(zip(days, completed, strict=True))
    ]


@pytest.mark.parametrize(
    ("slack", "year"),
    [
        ([-1, 1, 2], 2022.5),
        ([-1, -3, 1], 2023.75),
        ([0, 0, 0], 2022.0),
        ([1, -1, 3], 2023.25),  # what held before it failed does not count
        ([1, 1, -1], math.inf),
        ([-2, 0, 0], 2023.0),
    ],
)
def test_the_crossing_is_after_the_last_year_that_fails(levers, slack, year):
    assert levers.crossing([2022, 2023, 2024], slack) == year


def test_years_need_not_follow_one_another(levers):
    assert levers.crossing([2022, 2026], [-1, 3]) == 2023.0


def test_days_are_interpolated_as_logarithms_and_memory_is_had_from_a_whole_year_on(levers):
    # 14 days, then 3.5: halved twice in a year, so 7 is reached halfway. Nine of ten complete in 2023.
    found = levers.moments(points([14, 3.5], [80, 90]))
    assert found["time"] == pytest.approx(2022.5)
    assert found["memory"] == 2023.0


def test_where_no_client_fits_memory_is_short(levers):
    nobody = points([0, 2], [0, 100])
    nobody[0]["client_rounds"] = 0
    assert levers.moments(nobody) == {"time": 2022.0, "memory": 2023.0}


def test_the_ranking_says_how_many_years_and_what_binds(levers):
    ranked = levers.rank(
        {
            "plain": points([28, 14, 3.5, 1], [100] * 4),  # 7 days at 2023.5, 14 at 2023
            "faster": points([14, 7, 3.5, 1], [100] * 4),  # 7 days at 2023, 14 at 2022
            "smaller": points([28, 14, 3.5, 1], [0, 0, 80, 100]),  # nine of ten from 2025 on
            "hopeless": points([28, 14, 8, 7.5], [100] * 4),
        }
    )
    rows = {row["technique"]: row for row in ranked}
    assert list(rows) == ["faster", "plain", "smaller", "hopeless"]
    assert [row["practical_year"] for row in ranked] == [2023, 2024, 2025, "later"]
    assert [row["years_forward"] for row in ranked] == [0.5, 0.0, -1.5, -math.inf]
    assert [row["binds"] for row in ranked] == ["time", "time", "memory", "time"]
    assert rows["faster"]["years_forward_if_14_days"] == 1.0


def test_nothing_binds_what_holds_from_the_first_year_on(levers):
    (row,) = levers.rank({"plain": points([2, 1], [100, 100])})
    assert (row["practical_year"], row["binds"]) == (2022, "nothing")


def test_a_gain_over_what_is_never_reached_is_not_a_number(levers):
    assert math.isnan(levers.forward(math.inf, 2025.0))
    assert levers.forward(2025.0, math.inf) == -math.inf


def test_the_sweep_changes_one_thing_at_a_time_and_then_all(levers):
    sweep = sweeps.load("levers")
    cases = {point.parameters["case"] for point in sweep.points}
    years = {point.parameters["hardware.year"] for point in sweep.points}
    assert len(sweep.points) == len(cases) * len(years) * len(levers.TRENDS)
    assert {levers.PLAIN, levers.ALL} < cases


def test_the_committed_table_ranks_every_technique_of_the_sweep(levers, table):
    cases = {point.parameters["case"] for point in sweeps.load("levers").points}
    for fleet in levers.FLEETS:
        for trend in levers.TRENDS:
            mine = [row for row in table if (row["fleet"], row["trend"]) == (fleet, trend)]
            other = {levers.TWELVE_LAYERS} if fleet == levers.OTHERS else set()
            assert {row["technique"] for row in mine} == cases - other
            assert len(mine) == len(cases - other)
    # What leaves time and memory as they are cannot move a year.
    assert {row["years_forward"] for row in table if row["technique"] == "loss weighting"} == {"0.0"}


def test_the_picture_is_small_and_shown():
    picture = ANALYSIS / "pictures" / "levers.png"
    assert 10_000 < picture.stat().st_size < 300_000
    assert "pictures/levers.png" in (ANALYSIS / "README.md").read_text(encoding="utf-8")
