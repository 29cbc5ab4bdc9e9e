"""Sanity of every file of the catalogue: figures that no device of its kind can have fail here."""

from __future__ import annotations

import itertools

import pytest

from fedsim.hardware import catalogue, load_device, load_link
from fedsim.hardware.link import link_names
from fedsim.units import GIB

DEVICES = catalogue()

# By family: fp32 peak in GFLOP/s, GB/s of memory, GiB, watts under load; least and most ever sold.
RANGES = {
    "raspberry-pi": ((20, 200), (2, 20), (1, 16), (3, 15)),
    "jetson": ((200, 9000), (20, 300), (4, 128), (5, 130)),
    "phone": ((150, 1200), (25, 100), (3, 24), (3, 12)),
    "laptop": ((300, 3000), (30, 600), (8, 128), (15, 150)),
    "gpu": ((4000, 130000), (250, 8000), (6, 192), (60, 1000)),
}


@pytest.mark.parametrize("device", DEVICES, ids=lambda d: d.name)
def test_figures_are_plausible_for_the_family(device):
    fp32, bandwidth, memory, watts = RANGES[device.family]
    assert fp32[0] <= device.peak_flops_per_s["fp32"] / 1e9 <= fp32[1]
    assert bandwidth[0] <= device.memory_bandwidth_bytes_per_s / 1e9 <= bandwidth[1]
    assert memory[0] <= device.memory_bytes / GIB <= memory[1]
    assert watts[0] <= device.active_w <= watts[1]
    assert device.idle_w <= device.active_w / 2
    assert 2016 <= device.released <= 2026


@pytest.mark.parametrize("device", DEVICES, ids=lambda d: d.name)
def test_structure(device):
    assert device.memory_shared == (device.family != "gpu")
    assert device.backend == ("cuda" if device.family in {"gpu", "jetson"} else "cpu")
    assert (device.battery_j is not None) == (device.family in {"phone", "laptop"})
    assert (device.sustained < 1) == (device.throttle_after_s is not None)
    for low in ("fp16", "bf16"):
        if low in device.peak_flops_per_s:
            assert 1 <= device.peak_flops_per_s[low] / device.peak_flops_per_s["fp32"] <= 40
    # Machine balance of everything that was ever sold: 2 to 105 FLOP for each byte of memory traffic.
    assert 2 <= device.peak_flops_per_s["fp32"] / device.memory_bandwidth_bytes_per_s <= 105
    assert 0.01 <= (device.system_bytes + device.runtime_bytes) / device.memory_bytes <= 0.61
    assert all(len(source) >= 12 for source in device.sources.values())


@pytest.mark.parametrize("device", DEVICES, ids=lambda d: d.name)
def test_batteries_hold_what_the_family_holds(device):
    if device.family == "phone":
        assert 10 <= device.battery_j / 3600 <= 25
    elif device.family == "laptop":
        assert 45 <= device.battery_j / 3600 <= 100
    else:
        assert device.battery_j is None


@pytest.mark.parametrize("device", DEVICES, ids=lambda d: d.name)
def test_no_device_takes_its_speed_from_another(device):
    assert device.relative is None


def test_a_maker_gets_faster_over_the_years():
    for names in (
        (
            "snapdragon-855",
            "snapdragon-870",
            "snapdragon-8-gen-1",
            "snapdragon-8-gen-3",
            "snapdragon-8-elite",
        ),
        ("a13-bionic", "a15-bionic", "a16-bionic", "a17-pro", "a18-pro"),
        ("jetson-nano", "jetson-xavier-nx", "jetson-orin-nano", "jetson-orin-nano-super"),
        ("macbook-air-m1", "macbook-air-m2", "macbook-pro-m3", "macbook-pro-m4"),
        ("dimensity-9000", "dimensity-9300"),
        ("exynos-2200", "exynos-2400"),
        ("raspberry-pi-4", "raspberry-pi-5"),
        ("nvidia-v100", "nvidia-a100-40gb", "nvidia-h100"),
    ):
        devices = [load_device(name) for name in names]
        for earlier, later in itertools.pairwise(devices):
            assert earlier.released <= later.released
            assert earlier.peak_flops_per_s["fp32"] < later.peak_flops_per_s["fp32"]
            assert earlier.memory_bandwidth_bytes_per_s <= later.memory_bandwidth_bytes_per_s


@pytest.mark.parametrize("name", link_names())
def test_links_are_plausible(name):
    link = load_link(name)
    if name == "instant":
        assert link.down_bytes_per_s == link.up_bytes_per_s == float("inf")
        assert link.latency_s == link.spread == link.radio_w == 0
        return
    assert 1e5 <= link.up_bytes_per_s <= link.down_bytes_per_s <= 1.3e8
    assert 0 < link.latency_s <= 0.3
    assert 0 <= link.spread <= 1
    assert 0.5 <= link.radio_w <= 5


def test_mobile_links_are_ordered_by_generation():
    down = [load_link(name).down_bytes_per_s for name in ("3g", "lte", "5g")]
    assert down == sorted(down)
    latency = [load_link(name).latency_s for name in ("5g", "lte", "3g")]
    assert latency == sorted(latency)
