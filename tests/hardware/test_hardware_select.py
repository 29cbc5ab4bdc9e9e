"""Filtering and sorting the catalogue."""

from __future__ import annotations

import pytest

from fedsim.hardware import catalogue
from fedsim.hardware.select import KEYS, Filter, select
from fedsim.units import GIB

DEVICES = catalogue()


def names(**wanted):
    return [d.name for d in select(DEVICES, Filter(**wanted))]


def test_no_filter_keeps_all_by_name():
    assert names() == [d.name for d in DEVICES]


def test_filters_are_and_ed():
    found = select(DEVICES, Filter(families=("jetson",), min_memory_bytes=16 * GIB, released_after=2021))
    assert {d.name for d in found} == {
        "jetson-agx-orin-32gb",
        "jetson-agx-orin-64gb",
        "jetson-orin-nx",
        "jetson-thor",
    }


def test_bounds():
    assert "jetson-xavier-nx" in names(min_memory_bytes=8 * GIB)
    assert "jetson-xavier-nx" not in names(min_memory_bytes=8 * GIB + 1)
    assert "jetson-xavier-nx" in names(max_memory_bytes=8 * GIB)
    assert "jetson-xavier-nx" not in names(max_memory_bytes=8e9)  # 8 GB are less than the 8 GiB that it holds
    assert "jetson-xavier-nx" not in names(released_after=2020)
    assert "jetson-xavier-nx" in names(released_after=2019, released_before=2021)
    assert "jetson-xavier-nx" not in names(released_before=2020)
    assert set(names(backends=("cuda",))) == {d.name for d in DEVICES if d.family in ("gpu", "jetson")}
    assert names(min_fp32_flops_per_s=80e12) == ["geforce-rtx-4090"]


@pytest.mark.parametrize("key", KEYS)
def test_sorting_by_every_key(key):
    up = select(DEVICES, Filter(), (key,))
    values = [KEYS[key](d) for d in up]
    assert values == sorted(values)
    down = [KEYS[key](d) for d in select(DEVICES, Filter(), (key,), reverse=True)]
    assert down == sorted(values, reverse=True)


def test_the_first_key_counts_most_and_ties_go_by_name():
    found = [(d.family, d.released, d.name) for d in select(DEVICES, Filter(), ("family", "released"))]
    assert found == sorted(found)
    newest = [(-d.released, d.name) for d in select(DEVICES, Filter(), ("released",), reverse=True)]
    assert newest == sorted(newest)
