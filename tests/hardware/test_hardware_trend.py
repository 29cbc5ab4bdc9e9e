"""Projection by hand: doubling times, where counting starts, and what is refused."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsim.errors import HardwareError
from fedsim.hardware import load_device, load_link, load_trend, project, project_link
from fedsim.units import GIB

TREND = """\
title: T
counted_from: release
doubling_years: {compute: 2, memory: 4, bandwidth: 4, launch: never, links: 1}
sources: {counted_from: a study, doubling_years: a study}
"""


def test_eighteen_months_for_five_years_is_a_factor_of_ten():
    nx = load_device("jetson-xavier-nx")
    later = project(nx, 2027, load_trend("gao2022"))
    factor = 2 ** (60 / 18)  # 10.08; the paper rounds its own premise down to 8
    assert factor == pytest.approx(10.08, abs=0.005)
    assert later.growth.compute == pytest.approx(factor)
    assert later.peak_flops_per_s["fp32"] == pytest.approx(nx.peak_flops_per_s["fp32"] * factor)
    assert later.peak_flops_per_s["fp16"] == pytest.approx(nx.peak_flops_per_s["fp16"] * factor)
    assert later.growth.launch == later.growth.bandwidth == pytest.approx(factor)
    assert (later.growth.year, later.growth.trend) == (2027, "gao2022")


def test_the_paper_believes_in_48_gb_by_2027_and_epoch_does_not():
    nx = load_device("jetson-xavier-nx")
    assert project(nx, 2027, load_trend("gao2022")).memory_bytes / GIB == pytest.approx(48, rel=0.001)
    # From its release in 2020: 8 GiB x 2^(7/4).
    assert project(nx, 2027, load_trend("epoch")).memory_bytes / GIB == pytest.approx(8 * 2 ** (7 / 4))


def test_epoch_counts_from_release():
    nx, trend = load_device("jetson-xavier-nx"), load_trend("epoch")
    assert project(nx, 2020, trend).growth.compute == 1.0
    assert project(nx, 2027, trend).growth.compute == pytest.approx(2 ** (7 / 2.3))
    assert project(nx, 2027, trend).memory_bandwidth_bytes_per_s == pytest.approx(59.7e9 * 2 ** (7 / 4.1))


def test_the_paper_counts_from_its_own_year_and_newer_devices_from_theirs():
    trend = load_trend("gao2022")
    assert project(load_device("jetson-xavier-nx"), 2022, trend).growth.compute == 1.0
    assert project(load_device("jetson-thor"), 2028, trend).growth.compute == pytest.approx(2 ** (3 / 1.5))


def test_what_does_not_grow_stays(tmp_path):
    path = tmp_path / "t.yaml"
    path.write_text(TREND)
    trend, nx = load_trend(str(path)), load_device("jetson-xavier-nx")
    later = project(nx, 2024, trend)
    assert trend.doubling_years["launch"] == math.inf
    assert later.growth.launch == 1.0
    assert later.growth.compute == 4.0
    assert later.growth.memory == 2.0
    assert (later.system_bytes, later.runtime_bytes) == (nx.system_bytes, nx.runtime_bytes)
    assert (later.idle_w, later.active_w, later.name) == (nx.idle_w, nx.active_w, nx.name)


def test_links_grow_from_their_own_year(tmp_path):
    path = tmp_path / "t.yaml"
    path.write_text(TREND)
    lte = load_link("lte")
    later = project_link(lte, lte.year + 3, load_trend(str(path)))
    assert later.down_bytes_per_s == pytest.approx(8 * lte.down_bytes_per_s)
    assert later.up_bytes_per_s == pytest.approx(8 * lte.up_bytes_per_s)
    assert later.latency_s == lte.latency_s
    assert project_link(lte, 2027, load_trend("gao2022")) == lte
    assert project_link(load_link("instant"), 2027, load_trend("epoch")).down_bytes_per_s == math.inf


EPOCH, NX = load_trend("epoch"), load_device("jetson-xavier-nx")


@given(st.integers(2022, 2060), st.integers(0, 30))
def test_growth_is_monotone_and_composes(year, more):
    trend, nx = EPOCH, NX
    first, second = project(nx, year, trend).growth, project(nx, year + more, trend).growth
    assert second.compute >= first.compute >= 1
    assert second.compute / first.compute == pytest.approx(trend.factor("compute", more))


@pytest.mark.parametrize(
    ("device", "year", "trend", "expected"),
    [
        (
            "jetson-thor",
            2022,
            "epoch",
            "cannot be projected to 2022: jetson-thor is of 2025; give 2025 or later",
        ),
        ("jetson-xavier-nx", 2019, "epoch", "jetson-xavier-nx is of 2020; give 2020 or later"),
        ("jetson-xavier-nx", 2021, "gao2022", "the trend gao2022 starts in 2022; give 2022 or later"),
    ],
)
def test_no_device_before_its_time(device, year, trend, expected):
    with pytest.raises(HardwareError, match=expected):
        project(load_device(device), year, load_trend(trend))


def test_no_projection_of_a_projection():
    trend = load_trend("gao2022")
    later = project(load_device("jetson-xavier-nx"), 2025, trend)
    with pytest.raises(HardwareError, match="is already projected to 2025; project the device as sold"):
        project(later, 2027, trend)


def test_unknown_names_are_met_with_neighbours():
    with pytest.raises(HardwareError, match="there is no trend 'goa2022'; did you mean 'gao2022'"):
        load_trend("goa2022")
    with pytest.raises(HardwareError, match="there is no link 'wify'; did you mean 'wifi'"):
        load_link("wify")
    with pytest.raises(
        HardwareError, match="there is no link 'carrier-pigeon'; known here: 3g, 5g, ethernet"
    ):
        load_link("carrier-pigeon")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "compute: 2",
            "compute: 0",
            "doubling_years.compute: is 0; give a number of years from 0.1 to 1000, or",
        ),
        ("compute: 2", "compute: -2", "doubling_years.compute: is -2"),
        ("compute: 2", "compute: soon", "doubling_years.compute: is 'soon'"),
        ("compute: 2, ", "", "doubling_years.compute: is missing"),
        ("counted_from: release", "counted_from: purchase", "counted_from: is 'purchase'"),
        ("counted_from: a study, ", "", "counted_from: has no source"),
        (
            "title: T",
            "title: T\nnotes: x",
            "notes: 'notes' is not a known key; known here: title, sources, counted_from",
        ),
    ],
)
def test_a_faulty_trend_is_one_sentence(tmp_path, old, new, expected):
    path = tmp_path / "t.yaml"
    path.write_text(TREND.replace(old, new))
    with pytest.raises(HardwareError) as caught:
        load_trend(str(path))
    assert str(caught.value).startswith(f"{path}: {expected}")


LINK = """\
title: L
year: 2022
down: 10Mbps
up: 1Mbps
latency: 30ms
spread: 0.5
radio: 1W
sources: {year: a, down: a, up: a, latency: a, spread: a, radio: a}
"""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("down: 10Mbps", "down: 0", "down: is 0; give a rate from 1kbps to 1000Gbps, or unlimited"),
        ("down: 10Mbps", "down: 999bps", "down: is '999bps'; give a rate from 1kbps"),
        ("down: 10Mbps", "down: 1001Gbps", "down: is '1001Gbps'; give a rate from 1kbps to 1000Gbps"),
        ("down: 10Mbps", "down: .nan", "down: is nan; give a rate from 1kbps"),
        ("up: 1Mbps\n", "", "up: is missing; give a rate"),
        ("spread: 0.5", "spread: -1", "spread: is -1; give the sigma of a log-normal factor, from 0 to 3"),
        ("latency: 30ms", "latency: 30 Mbps", "latency: is '30 Mbps'; give a duration"),
        ("radio: a}", "}", "radio: has no source"),
    ],
)
def test_a_faulty_link_is_one_sentence(tmp_path, old, new, expected):
    path = tmp_path / "l.yaml"
    path.write_text(LINK)
    link = load_link(str(path))
    assert (link.down_bytes_per_s, link.up_bytes_per_s) == (1.25e6, 1.25e5)
    path.write_text(LINK.replace("10Mbps", "1kbps").replace("1Mbps", "unlimited"))
    link = load_link(str(path))
    assert (link.down_bytes_per_s, link.up_bytes_per_s) == (125.0, math.inf)
    path.write_text(LINK.replace(old, new))
    with pytest.raises(HardwareError) as caught:
        load_link(str(path))
    assert str(caught.value).startswith(f"{path}: {expected}")
