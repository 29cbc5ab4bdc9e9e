"""Orders over the whole catalogue: what is newer, larger or has more memory, and where that does not hold.

An exception is named with its reason and has to be one: where the order holds after all, the test fails.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from fedsim.hardware import Device, catalogue, load_device
from fedsim.pricing import Pricer, Technique, load_trace
from fedsim.pricing.calibration import calibrate
from fedsim.pricing.priors import own_kind

STEPS = {"4 x 5.5 s": (4, 88_000), "8 x 15 s": (8, 240_000)}
EQUAL = 1.01
"""Figures of two datasheets that differ by less are the same figure."""

LINES = {
    "phones of Apple": ("a13-bionic", "a15-bionic", "a16-bionic", "a17-pro", "a18-pro"),
    "phones of Qualcomm": (
        "snapdragon-855", "snapdragon-870", "snapdragon-8-gen-1", "snapdragon-8-gen-2", "snapdragon-8-gen-3",
        "snapdragon-8-elite",
    ),
    "phones of Google": ("google-tensor", "google-tensor-g2", "google-tensor-g3", "google-tensor-g4"),
    "phones of Samsung": ("exynos-2200", "exynos-2400"),
    "phones of MediaTek": ("dimensity-9000", "dimensity-9300"),
    "Raspberry Pis": ("raspberry-pi-4", "raspberry-pi-5"),
    "Macs": ("macbook-air-m1", "macbook-air-m2", "macbook-pro-m3", "macbook-pro-m4"),
    "large Macs": ("macbook-air-m1", "macbook-pro-m1-max"),
    "small Jetsons": ("jetson-nano", "jetson-xavier-nx", "jetson-orin-nano", "jetson-orin-nano-super"),
    "middle Jetsons": ("jetson-tx2", "jetson-xavier-nx", "jetson-orin-nx"),
    "large Jetsons": (
        "jetson-agx-xavier", "jetson-agx-orin-32gb", "jetson-agx-orin-64gb", "jetson-thor",
    ),
    "cards of data centres": (
        "nvidia-p100", "nvidia-v100", "nvidia-a100-40gb", "nvidia-a100-80gb", "nvidia-h100", "nvidia-h200",
    ),
    "cards for inference": ("nvidia-t4", "nvidia-l4"),
    "GeForces": ("nvidia-rtx-2080-ti", "geforce-rtx-3090", "geforce-rtx-4090"),
}  # fmt: skip
"""What a maker sold for one use, by year."""

HOST = "its steps are those of a whole script, of which 27 ms an example are the host's"
CHIP = "the same chip, and only the one with 16 GB was measured"
H200 = "its steps were measured on their own, the H100's foretold: 8 to 9%, where the kind errs by 27%"
SLOWER = {
    ("nvidia-rtx-2080-ti", "nvidia-a40", "fp32", "4 x 5.5 s"): HOST,
    ("nvidia-rtx-2080-ti", "nvidia-a40", "fp32", "8 x 15 s"): HOST,
    ("nvidia-rtx-2080-ti", "nvidia-a40", "mixed", "4 x 5.5 s"): HOST,
    ("nvidia-rtx-2080-ti", "nvidia-a40", "mixed", "8 x 15 s"): HOST,
    ("nvidia-l4", "nvidia-a40", "fp32", "4 x 5.5 s"): HOST,
    ("nvidia-l4", "nvidia-a40", "mixed", "4 x 5.5 s"): HOST,
    ("nvidia-t4", "nvidia-a40", "fp32", "4 x 5.5 s"): HOST,
    ("nvidia-t4", "nvidia-a40", "mixed", "4 x 5.5 s"): HOST,
    ("jetson-agx-xavier", "jetson-agx-xavier-32gb", "fp32", "4 x 5.5 s"): CHIP,
    ("jetson-agx-xavier", "jetson-agx-xavier-32gb", "fp32", "8 x 15 s"): CHIP,
    ("jetson-agx-xavier-32gb", "jetson-agx-xavier", "mixed", "4 x 5.5 s"): CHIP,
    ("jetson-agx-xavier-32gb", "jetson-agx-xavier", "mixed", "8 x 15 s"): CHIP,
    ("nvidia-h100", "nvidia-h200", "fp32", "8 x 15 s"): H200,
    ("nvidia-h100", "nvidia-h200", "mixed", "8 x 15 s"): H200,
}
"""The lesser device, the greater one that is slower all the same, precision, step: why."""

CORES = "Google gave it one core of the second rank less, so that its peak in fp32 is 5% lower"
BANDWIDTH = (
    "its memory has 300 GB/s and the T4's 320, which is what binds in the model; a cache of 48 MB instead of "
    "4 is not priced: 1% apart"
)
OLDER_IS_FASTER = {
    ("nvidia-t4", "nvidia-l4", "mixed", "4 x 5.5 s"): BANDWIDTH,
    ("nvidia-t4", "nvidia-l4", "mixed", "8 x 15 s"): BANDWIDTH,
    ("google-tensor-g3", "google-tensor-g4", "fp32", "4 x 5.5 s"): CORES,
    ("google-tensor-g3", "google-tensor-g4", "fp32", "8 x 15 s"): CORES,
    ("nvidia-h100", "nvidia-h200", "fp32", "8 x 15 s"): H200,
    ("nvidia-h100", "nvidia-h200", "mixed", "8 x 15 s"): H200,
}

LAUNCHES = (
    "4 sentences leave it waiting for launches, of which autocast has half as many again: of its larger "
    "sister, the H200, 57 ms were measured, and 52 ms in fp32"
)
HALVED = (
    "its 16-bit cores are twice as fast as its others where they add up in 32 bits, those of data centres 8 "
    "to 16 times, which does not make up for autocast's launches"
)
MIXED_IS_SLOWER = {
    ("nvidia-h100", "4 x 5.5 s"): LAUNCHES,
    ("geforce-rtx-3090", "4 x 5.5 s"): HALVED,
    ("geforce-rtx-4090", "4 x 5.5 s"): HALVED,
}


@cache
def step_s(name: str, precision: str, step: str) -> float:
    pricer = Pricer(load_device(name), load_trace("wav2vec2-base"), Technique(precision=precision))
    return float(pricer.step_s(*STEPS[step]))


def is_larger(small: Device, large: Device) -> bool:
    """Whether a device has at least every peak and the bandwidth of another of its family and kind."""
    peaks = large.peak_flops_per_s
    bandwidth = large.memory_bandwidth_bytes_per_s * EQUAL
    return (
        (small.family, own_kind(small)) == (large.family, own_kind(large))
        and all(peaks.get(key, 0) * EQUAL >= peak for key, peak in small.peak_flops_per_s.items())
        and bandwidth >= small.memory_bandwidth_bytes_per_s
    )


def larger() -> Iterator[tuple[Device, Device]]:
    return (pair for pair in itertools.permutations(catalogue(), 2) if is_larger(*pair))


def cases(small: str, large: str) -> Iterator[tuple[str, str, str, str]]:
    for precision in ("fp32", "mixed"):
        if all(precision in load_device(name).training_precisions for name in (small, large)):
            yield from ((small, large, precision, step) for step in STEPS)


def slower(pairs: list[tuple[str, str]]) -> set[tuple[str, str, str, str]]:
    """The cases in which the second of a pair is slower than the first, by more than rounding."""
    return {
        (small, large, precision, step)
        for pair in pairs
        for small, large, precision, step in cases(*pair)
        if step_s(large, precision, step) > step_s(small, precision, step) * 1.001
    }


def test_a_larger_device_of_a_family_is_not_slower():
    pairs = [(small.name, large.name) for small, large in larger()]
    assert len(pairs) > 150
    assert slower(pairs) == set(SLOWER)


def test_a_newer_device_of_a_line_is_not_slower():
    pairs = [pair for line in LINES.values() for pair in itertools.pairwise(line)]
    for older, newer in pairs:
        assert load_device(older).released <= load_device(newer).released
    assert slower(pairs) == set(OLDER_IS_FASTER)


def test_what_is_slower_though_larger_is_so_by_a_measurement():
    """Foretold from their datasheets alone, larger devices are never slower, so the model breaks no order."""
    for small, large, precision, step in {*SLOWER, *OLDER_IS_FASTER}:
        pair = [load_device(name) for name in (small, large)]
        if not is_larger(*pair):
            continue
        assert any(calibrate(device).status == "calibrated" for device in pair), (small, large)
        foretold = [
            float(
                Pricer(
                    replace(device, name=f"{device.name}-unmeasured"),
                    load_trace("wav2vec2-base"),
                    Technique(precision=precision),
                ).step_s(*STEPS[step])
            )
            for device in pair
        ]
        assert foretold[1] <= foretold[0] * EQUAL, (small, large)


def test_without_the_host_of_its_script_the_a40_is_in_order():
    """Its script takes 27 ms for an example, and the rest is a 2080 Ti's within what that errs by."""
    other = calibrate(load_device("nvidia-rtx-2080-ti"))
    for precision in ("fp32", "mixed"):
        host_s = 4 * calibrate(load_device("nvidia-a40")).rates[precision].host_s
        bare = step_s("nvidia-a40", precision, "4 x 5.5 s") - host_s
        foretold = step_s("nvidia-rtx-2080-ti", precision, "4 x 5.5 s")
        assert host_s > 0.05
        assert bare < foretold * other.standard_error(precision)


@pytest.mark.parametrize("board", [device for device in catalogue() if device.modes], ids=lambda d: d.name)
def test_a_board_with_more_power_is_not_slower(board):
    modes = [load_device(f"{board.name}@{mode}") for mode in board.modes]
    for less, more in itertools.permutations(modes, 2):
        if less.active_w < more.active_w:
            assert slower([(less.name, more.name)]) == set()


def test_mixed_is_not_slower_than_fp32():
    """Not even without tensor cores: 16-bit numbers are then twice as fast on the same cores."""
    names = [device.name for device in catalogue() if "mixed" in device.training_precisions]
    assert len(names) > 20
    found = {
        (name, step)
        for name in names
        for step in STEPS
        if step_s(name, "mixed", step) > step_s(name, "fp32", step)
    }
    assert found == set(MIXED_IS_SLOWER)


def test_every_mac_is_faster_than_every_raspberry_pi_and_phone():
    macs = [device.name for device in catalogue() if own_kind(device) == "apple"]
    small = [device.name for device in catalogue() if device.family in ("raspberry-pi", "phone")]
    assert len(macs) >= 5
    assert len(small) >= 20
    for step in STEPS:
        assert max(step_s(name, "fp32", step) for name in macs) < min(
            step_s(name, "fp32", step) for name in small
        )


def test_more_memory_never_fits_less():
    samples = np.arange(16_000, 16_000 * 60, 16_000)
    trace, plain = load_trace("wav2vec2-base"), Technique()
    for family, devices in itertools.groupby(sorted(catalogue(), key=lambda d: d.family), lambda d: d.family):
        fits = {d.name: (d.memory_bytes, Pricer(d, trace, plain).fits(4, samples)) for d in devices}
        for (small, (less, first)), (large, (more, second)) in itertools.permutations(fits.items(), 2):
            if more > less:
                assert np.all(second >= first), (family, small, large)
