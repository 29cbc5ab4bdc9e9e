"""What a report says and shades of a run whose clock was repeated under drawn speeds."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedsim.errors import RunError
from fedsim.report import build, words
from fedsim.report.compare import terminal
from fedsim.report.compare.answer import answer, compare
from fedsim.report.compare.gather import gather
from fedsim.report.compare.tables import overview, target_table
from fedsim.report.digest import digest
from fedsim.report.figures import convergence, rounds
from fedsim.report.style import DARK, LIGHT
from fedsim.report.text import duration
from fedsim.results import load
from fedsim.results.intervals import interval_of


@pytest.fixture(scope="module")
def drawn(make_run, tmp_path_factory):
    return make_run(
        tmp_path_factory.mktemp("drawn") / "run", rounds=6, cohort=5, clients=30, drawn=(0.5, 3.0)
    )


def test_the_answer_gives_the_interval_and_how_many_draws_there_were(drawn):
    found = digest(load(drawn))
    end_s = found.summary["end_s"]
    within = f"{duration(end_s / 2)} to {duration(end_s * 3)}"
    said = words.interval_sentence(found)
    assert said.startswith(f"As far as the speed of its devices is known, that is {within} and ")
    assert said.endswith("(90% interval; the clock was repeated under 12 draws of their speeds).")
    assert said in words.answer(found)
    assert words.cards(found)[0].note.startswith(f"{within}; ")
    for row, device in zip(words.device_rows(found), found.devices, strict=True):
        mean_s = found.summary["devices"][device]["mean_compute_s"]
        within = "" if mean_s is None else f"{duration(mean_s / 2)} to {duration(mean_s * 3)}"
        assert row.compute_within == within


def test_charts_shade_what_is_uncertain(drawn):
    found = digest(load(drawn))
    table = found.rounds
    bars = rounds.live(found)["panels"][0]["series"][0]
    length = table["end_s"] - table["start_s"]
    for factor, ends in zip((0.5, 3.0), bars["within"], strict=True):
        assert ends == pytest.approx(factor * length, rel=1e-5)
    for panel in convergence.live(found)["panels"]:
        for line in panel["series"]:
            times = np.array(line["x"]["time"])  # of the initial model too, which is there at 0
            assert line["within"][0] == pytest.approx(0.5 * times, rel=1e-6)
            assert line["within"][1] == pytest.approx(3.0 * times, rel=1e-6)
    for chart in (rounds.CHART, convergence.CHART):
        assert "Shaded: where it lies with 90% probability" in chart.caption(found)
        for theme in (LIGHT, DARK):
            chart.draw(found, theme)


def test_the_page_holds_intervals_and_defines_their_columns(drawn):
    page = build.write(drawn).html.read_text(encoding="utf-8")
    assert "intervals.parquet" in page
    assert "end_high_s" in page
    assert "interval.*.low" in page


def test_a_run_without_draws_has_none_of_it(make_run, tmp_path):
    found = digest(load(make_run(tmp_path / "run", rounds=3, cohort=4, clients=9)))
    assert found.intervals is None
    assert words.interval_sentence(found) == ""
    assert "within" not in rounds.live(found)["panels"][0]["series"][0]
    assert "Shaded" not in rounds.CHART.caption(found) + convergence.CHART.caption(found)


def test_what_is_never_reached_is_left_open(make_run, tmp_path):
    run = make_run(tmp_path / "run", rounds=3, cohort=4, clients=9, drawn=(1.0, math.inf))
    found = digest(load(run))
    assert words.between(found.summary, "end_s", duration) == f"{duration(found.summary['end_s'])} or more"
    for chart in (rounds.CHART, convergence.CHART):
        chart.draw(found, LIGHT)
        chart.live(found)
    assert words.between({"interval": {"x": entry(None, None)}}, "x", duration) == "never"


def entry(low, high, level=0.9, draws=10):
    return {"low": low, "high": high, "level": level, "draws": draws}


@pytest.mark.parametrize(
    "said",
    [
        "soon", 7, None, [], {}, {"low": 1.0, "high": 2.0}, entry("1", 2.0), entry(2.0, 1.0),
        entry(1.0, 1e30), entry(True, 2.0), entry(1.0, 2.0, level=90), entry(1.0, 2.0, draws=0),
        entry(1.0, 2.0, draws=9.5), entry(None, 2.0),
    ],
)  # fmt: skip
def test_an_interval_that_cannot_be_is_not_there(make_run, tmp_path, said):
    assert interval_of({"interval": {"end_s": said}}, "end_s") is None
    assert interval_of({"interval": said}, "end_s") is None
    run = make_run(tmp_path / "run", rounds=2, cohort=3, clients=6, drawn=(0.5, 2.0))
    file = run / "summary.json"
    file.write_text(
        json.dumps({**json.loads(file.read_text()), "interval": {"end_s": said}, "devices": said})
    )
    found = digest(load(run))
    assert "interval" not in found.summary
    assert words.interval_sentence(found) == ""


@pytest.mark.parametrize("change", ["fewer", "others", "huge", "torn"])
def test_a_damaged_table_of_intervals_is_one_sentence(make_run, tmp_path, change):
    run = make_run(tmp_path / "run", rounds=3, cohort=3, clients=6, drawn=(0.5, 2.0))
    file = run / "intervals.parquet"
    table = pq.read_table(file)
    if change == "fewer":
        table = table.slice(1)
    elif change == "others":
        table = table.set_column(0, table.schema.field(0), pa.array([5, 6, 7]))
    elif change == "huge":
        table = table.set_column(1, table.schema.field(1), pa.array([1e300] * 3))
    pq.write_table(table, file)
    if change == "torn":
        file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(RunError, match="intervals"):
        digest(load(run))


def test_runs_are_compared_with_their_intervals(make_run, drawn, tmp_path):
    plain = make_run(tmp_path / "plain", rounds=3, cohort=4, clients=9)
    end_s = load(drawn).summary["end_s"]
    (clock, *_) = overview(gather([drawn, plain]))
    assert clock.headings[:4] == ("run", "time", "90%", "rounds")
    assert [row[2] for row in clock.rows] == [f"{duration(end_s / 2)} to {duration(end_s * 3)}", "–"]
    compared = compare([drawn, plain], ["rounds=2"])
    closed_s = load(drawn).rounds["end_s"][1]
    ((target, found),) = compared.targets
    table = target_table(target, found)
    assert table.headings[:4] == ("run", "time", "of least", "90%")
    assert [row[3] for row in table.rows] == [f"{duration(closed_s / 2)} to {duration(closed_s * 3)}", "–"]
    said = answer(compared)["targets"][0]["runs"]
    within = said[0]["interval"]["time_s"]
    assert (within["low"], within["high"]) == pytest.approx((closed_s / 2, closed_s * 3))
    assert (within["level"], within["draws"], said[1]["interval"]) == (0.9, 12, None)
    terminal.show(compared)
    other = make_run(tmp_path / "other", rounds=2, cohort=4, clients=9)
    assert overview(gather([plain, other]))[0].headings[:3] == ("run", "time", "rounds")
