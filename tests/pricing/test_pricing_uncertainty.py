"""Drawn speeds: quantiles of a lognormal factor, by device, and intervals of what draws give."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsim import hardware
from fedsim.pricing import Pricer, Technique, load_trace
from fedsim.pricing.answer import answer
from fedsim.pricing.uncertainty import bounds, deviations, factors, spread, step_interval

NORMAL = NormalDist()
Z = NORMAL.inv_cdf(0.95)


@dataclass(frozen=True)
class Named:
    name: str


@dataclass(frozen=True)
class Known:
    """A pricer of which only the error counts."""

    device: Named
    standard_error: float


@given(st.integers(1, 60), st.integers(0, 2**63 - 1), st.text(min_size=1, max_size=9))
def test_draws_of_a_device_are_the_middles_of_equally_likely_parts(draws, seed, name):
    expected = [NORMAL.inv_cdf((k + 0.5) / draws) for k in range(draws)]
    assert sorted(deviations(name, seed, draws)) == expected


def test_power_modes_of_a_board_err_together_and_other_devices_do_not():
    board = deviations("jetson-agx-orin-64gb", 5, 20)
    for mode in ("15W", "30W", "50W"):
        assert (deviations(f"jetson-agx-orin-64gb@{mode}", 5, 20) == board).all()
    for name in ("jetson-agx-orin-32gb", "jetson-nano", "raspberry-pi-5"):
        assert (deviations(name, 5, 20) != board).any()
    assert (deviations("jetson-agx-orin-64gb", 6, 20) != board).any()


def test_a_factor_is_the_error_to_the_power_of_the_deviation_in_each_precision():
    rows = [
        [Known(Named("a"), 1.5), Known(Named("a"), 1.2)],
        [Known(Named("b"), 1.0), Known(Named("b"), 2.0)],
    ]
    found = factors(rows, 1, 10)
    assert found.shape == (10, 2, 2)
    for d, name in enumerate("ab"):
        off = deviations(name, 1, 10)
        for t in range(2):
            assert found[:, t, d] == pytest.approx(rows[d][t].standard_error ** off, rel=1e-12)
    assert (found[:, 0, 1] == 1.0).all()  # a device that is known exactly does not move


@pytest.mark.parametrize("error", [1.02, 1.35, 2.0])
def test_ten_draws_hold_both_ends_of_a_lognormal_exactly(error):
    low, high = bounds(error ** deviations("one", 3, 10))
    assert float(low) == pytest.approx(error**-Z, rel=1e-12)
    assert float(high) == pytest.approx(error**Z, rel=1e-12) == spread(error)


def test_bounds_are_by_row_clamped_to_the_range_and_infinite_where_draws_are():
    low, high = bounds([[3.0, 1.0], [1.0, math.inf], [2.0, math.inf]])  # fewer than ten: their range
    assert low.tolist() == [1.0, 1.0]
    assert high.tolist() == [3.0, math.inf]
    low, high = bounds(np.arange(20.0))  # 20 draws: at 0.05 x 20 - 0.5 = 0.5 and 18.5
    assert (float(low), float(high)) == pytest.approx((0.5, 18.5))
    assert bounds([[7.0]])[0].tolist() == [7.0]
    assert float(bounds([*range(19), math.inf])[1]) == math.inf


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=40))
def test_bounds_lie_within_what_was_drawn_and_in_order(drawn):
    low, high = (float(end) for end in bounds(drawn))
    assert sorted([min(drawn), low, high, max(drawn)]) == pytest.approx([min(drawn), low, high, max(drawn)])


@pytest.mark.parametrize("device", ["jetson-xavier-nx", "nvidia-h100", "raspberry-pi-5"])
def test_a_step_has_its_interval_beside_it(device):
    pricer = Pricer(hardware.load_device(device), load_trace("wav2vec2-base"), Technique())
    found = answer(pricer, 2, 88_000)
    factor = pricer.standard_error**Z
    step_s = found["step_s"]
    assert found["interval"]["step_s"] == step_interval(pricer, step_s)
    assert found["interval"]["step_s"]["low"] == pytest.approx(step_s / factor)
    assert found["interval"]["step_s"]["high"] == pytest.approx(step_s * factor)
