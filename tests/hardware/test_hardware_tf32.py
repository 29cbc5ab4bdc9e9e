"""TF32 peaks: stated for every device with tensor cores of Ampere or later, dense, and derivable."""

from __future__ import annotations

import pytest

from fedsim.hardware import catalogue, load_device

DEVICES = catalogue()
BEFORE_AMPERE = 2020
TURING_AND_BEFORE = {"jetson-xavier-nx", "jetson-agx-xavier-32gb"}
"""Sold in 2020 with tensor cores of Volta."""


@pytest.mark.parametrize(
    ("name", "tensor_cores", "multiply_adds", "ghz"),
    [
        ("nvidia-a40", 84 * 4, 64, 1.74),
        ("nvidia-a100-40gb", 108 * 4, 128, 1.41),
        ("nvidia-a100-80gb", 108 * 4, 128, 1.41),
        ("geforce-rtx-3090", 82 * 4, 32, 1.695),
        ("nvidia-rtx-a5000", 64 * 4, 64, 1.695),
        ("nvidia-rtx-a6000", 84 * 4, 64, 1.8),
        ("nvidia-l4", 58 * 4, 64, 2.04),
        ("geforce-rtx-4090", 128 * 4, 32, 2.52),
        ("nvidia-h100", 132 * 4, 256, 1.83),
        ("nvidia-h200", 132 * 4, 256, 1.83),
        ("jetson-agx-orin-64gb", 16 * 4, 128, 1.3),
        ("jetson-agx-orin-32gb", 14 * 4, 128, 0.93),
        ("jetson-orin-nx", 8 * 4, 128, 0.918),
        ("jetson-orin-nano", 8 * 4, 128, 0.625),
        ("jetson-orin-nano-super", 8 * 4, 128, 1.02),
    ],
)
def test_the_peak_is_tensor_cores_times_width_times_clock(name, tensor_cores, multiply_adds, ghz):
    derived = tensor_cores * multiply_adds * ghz * 1e9 * 2
    assert load_device(name).peak_flops_per_s["tf32"] == pytest.approx(derived, rel=0.005)


@pytest.mark.parametrize("device", DEVICES, ids=lambda d: d.name)
def test_every_device_with_tensor_cores_of_ampere_or_later_states_it(device):
    recent = device.backend == "cuda" and device.released >= BEFORE_AMPERE
    assert ("tf32" in device.peak_flops_per_s) == (recent and device.name not in TURING_AND_BEFORE)


@pytest.mark.parametrize("device", [d for d in DEVICES if "tf32" in d.peak_flops_per_s], ids=lambda d: d.name)
def test_it_is_dense_half_of_fp16_and_no_less_than_fp32_but_for_rounding(device):
    peaks = device.peak_flops_per_s
    assert peaks["tf32"] <= peaks["fp16"] / 2 * 1.005
    assert peaks["tf32"] >= peaks["fp32"] * 0.995
    assert peaks["bf16"] == peaks["fp16"]
    assert "compute.tf32" in device.sources
