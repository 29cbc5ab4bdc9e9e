"""Growth at random: ranges, what moves together, and what energy does to power; by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fedsim.errors import HardwareError
from fedsim.hardware import load_device, load_trend, project
from fedsim.hardware.trend_draws import draw_doubling_years, triangular

TREND = """\
title: T
counted_from: release
doubling_years: {compute: 2, memory: 4, bandwidth: 4, launch: never, links: 1, energy: 4}
range: {compute: [1, 4], memory: [4, 8]}
sources: {counted_from: a study, doubling_years: a study, range: a study}
"""


@pytest.fixture
def trend_file(tmp_path):
    def write(text):
        path = tmp_path / "t.yaml"
        path.write_text(text)
        return str(path)

    return write


def test_quantiles_of_a_triangle_by_hand():
    # On [0, 4] with the peak at 1: a quarter of the mass lies below the peak; F(x) = x^2 / 4 there,
    # and 1 - (4 - x)^2 / 12 above.
    found = triangular(np.array([0.0625, 0.25, 0.25 + 0.75 * 0.75, 1 - 1e-12]), 0.0, 1.0, 4.0)
    assert found == pytest.approx([0.5, 1.0, 4 - np.sqrt(12 * 0.1875), 4.0], abs=1e-5)
    assert triangular(np.array([0.1, 0.9]), 3.0, 3.0, 3.0).tolist() == [3.0, 3.0]


def test_draws_stay_in_their_range_and_peak_at_the_figure(trend_file):
    drawn = draw_doubling_years(load_trend(trend_file(TREND)), 20_000, seed=3)
    assert drawn["compute"].min() >= 1
    assert drawn["compute"].max() <= 4
    assert np.median(drawn["compute"]) == pytest.approx(2, rel=0.02)  # symmetric in the logarithm
    assert drawn["memory"].min() >= 4  # a range may begin at the figure itself
    assert set(drawn["bandwidth"]) == {4.0}
    assert np.isinf(drawn["launch"]).all()
    assert abs(np.corrcoef(drawn["compute"], drawn["memory"])[0, 1]) < 0.03


def test_more_draws_leave_the_first_as_they_are(trend_file):
    trend = load_trend(trend_file(TREND))
    few, many = (draw_doubling_years(trend, n, seed=3)["compute"] for n in (5, 50))
    assert (few == many[:5]).all()
    assert (few != draw_doubling_years(trend, 5, seed=4)["compute"]).all()


def test_what_moves_together_shares_a_draw(trend_file):
    text = TREND.replace("range: {", "together: [compute, memory]\nrange: {")
    drawn = draw_doubling_years(load_trend(trend_file(text)), 1000, seed=3)
    assert (np.argsort(drawn["compute"]) == np.argsort(drawn["memory"])).all()
    gao = draw_doubling_years(load_trend("gao2022"), 1000, seed=3)
    assert (gao["compute"] == gao["launch"]).all()


def test_a_trend_without_ranges_has_nothing_to_draw(trend_file):
    text = TREND.replace("range: {compute: [1, 4], memory: [4, 8]}\n", "").replace(", range: a study", "")
    trend = load_trend(trend_file(text))
    with pytest.raises(HardwareError, match=r"t\.yaml: range: states no range, so there is nothing to draw"):
        draw_doubling_years(trend, 10, seed=3)


def test_power_grows_by_compute_over_efficiency(trend_file):
    nx = load_device("jetson-xavier-nx")
    later = project(nx, 2024, load_trend(trend_file(TREND)))
    # Four years: 4 times the speed, half the energy a FLOP, so twice the 11 W beyond idle.
    assert later.growth.power == 2.0
    assert later.active_w == pytest.approx(4 + 2 * (15 - 4))
    assert later.idle_w == 4
    assert later.growth.sold == nx
    assert project(nx, 2030, load_trend("gao2022")).active_w == nx.active_w


def test_the_catalogues_ranges_hold_their_figures_and_are_sourced():
    for name in ("gao2022", "epoch"):
        trend = load_trend(name)
        assert trend.range_years
        for figure, (low, high) in trend.range_years.items():
            assert low <= trend.doubling_years[figure] <= high
            assert f"range.{figure}" in trend.sources or "range" in trend.sources


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("compute: [1, 4]", "compute: [3, 4]", "range.compute: is [3, 4]; give two numbers of years"),
        ("compute: [1, 4]", "compute: 4", "range.compute: is 4; give two numbers"),
        ("compute: [1, 4]", "compute: [1, 1001]", "range.compute: is [1, 1001]; give two numbers of years"),
        ("compute: [1, 4]", "compute: [0.05, 4]", "range.compute: is [0.05, 4]; give two numbers of years"),
        (
            "range: {",
            "together: [compute, memory, memory]\nrange: {",
            "together: is ['compute', 'memory', 'memory']; give a list of two",
        ),
        ("compute: [1, 4]", "compute: [soon, late]", "range.compute[0]: is 'soon'; give two numbers"),
        ("compute: [1, 4]", "launch: [1, 4]", "range.launch: has a range, but doubling_years says"),
        (
            "compute: [1, 4]",
            "flops: [1, 4]",
            "range.flops: 'flops' is not a known key; known here: compute, memory",
        ),
        (", range: a study", "", "range.compute: has no source"),
        ("range: {", "together: [compute]\nrange: {", "together: is ['compute']; give a list of two"),
        ("range: {", "together: [compute, links]\nrange: {", "together: names 'links'; give figures"),
    ],
)
def test_a_faulty_range_is_one_sentence(trend_file, old, new, expected):
    file = trend_file(TREND.replace(old, new))
    with pytest.raises(HardwareError) as caught:
        load_trend(file)
    assert str(caught.value).replace(f"{file}: ", "").startswith(expected)
