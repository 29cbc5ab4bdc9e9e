"""The solver against scipy's, and fits that have to find what made the data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.pricing.rates import FEATURES, Rates
from fedsim.pricing.regression import (
    Cells,
    Limits,
    choose,
    fit,
    fit_slowdown,
    in_words,
    plans,
    predicted_s,
    scaled,
)
from fedsim.pricing.regression import non_negative_least_squares as solve

LIMITS = Limits({"fp32": 1e12, "mixed": 8e12}, 50e9)
TRUE = {
    "fp32": Rates(5e-5, 0.4e12, 0.4e12, 0.8e12, 0.8e12, 50e9),
    "mixed": Rates(9e-5, 0.9e12, 0.9e12, 3e12, 3e12, 50e9),
}


def cells(seed=0, precisions=("fp32",) * 4 + ("mixed",) * 4, noise=0.0):
    generator = np.random.default_rng(seed)
    size = np.array([1000, 3e11, 2e10, 4e11, 3e10, 5e9, 1e10, 7e9, 4])
    features = size * generator.uniform(0.3, 3, (len(precisions), len(FEATURES)))
    exact = [f @ TRUE[p].seconds_per_unit() for f, p in zip(features, precisions, strict=True)]
    seconds = np.array(exact) * generator.normal(1, noise, len(precisions))
    return Cells(precisions, features, seconds, np.ones(len(precisions)))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 9))
def test_the_solver_agrees_with_scipy(seed, unknowns, rows):
    from scipy.optimize import nnls

    generator = np.random.default_rng(seed)
    matrix, target = generator.normal(size=(rows, unknowns)), generator.normal(size=rows)
    ours = solve(matrix, target)
    assert (ours >= 0).all()
    assert np.linalg.norm(matrix @ ours - target) == pytest.approx(nnls(matrix, target)[1], abs=1e-9)


def test_the_solver_by_hand():
    # The unconstrained optimum is (2, -1); held at 0, the second leaves 3 z = 5 for the first.
    np.testing.assert_allclose(
        solve(np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 0.0]]), np.array([2, 1.0, 2])), [5 / 3, 0]
    )
    assert (solve(np.eye(3), -np.ones(3)) == 0).all()
    with pytest.raises(ValueError, match="13 unknowns are too many"):
        solve(np.ones((3, 13)), np.ones(3))


def test_a_fit_finds_the_rates_that_made_the_data():
    found = fit(cells(), plans(("fp32", "mixed"))[0], LIMITS)
    for precision, rates in TRUE.items():
        assert found[precision].launch_s == pytest.approx(rates.launch_s)
        assert found[precision].conv_flops_per_s == pytest.approx(rates.conv_flops_per_s)
        assert found[precision].matmul_flops_per_s == pytest.approx(rates.matmul_flops_per_s)
    np.testing.assert_allclose(predicted_s(cells(), found), cells().seconds)


def test_no_rate_is_fitted_above_its_peak():
    low = Limits({"fp32": 0.5e12, "mixed": 2e12}, 50e9)
    for plan in plans(("fp32", "mixed")):
        for precision, rates in fit(cells(), plan, low).items():
            peak = low.peak_flops_per_s[precision] * (1 + 1e-12)
            assert rates.conv_flops_per_s <= peak
            assert rates.matmul_flops_per_s <= peak


def test_weights_draw_the_fit_to_their_step():
    measured = cells(noise=0.3)
    plan = (("launch", None), ("arithmetic", "fp32"), ("arithmetic", "mixed"))
    weights = np.ones(8)
    weights[2] = 100.0
    heavy = Cells(measured.precisions, measured.features, measured.seconds, weights)
    errors = [
        abs(predicted_s(measured, fit(c, plan, LIMITS))[2] / measured.seconds[2] - 1)
        for c in (measured, heavy)
    ]
    assert errors[1] < errors[0]
    assert errors[1] < 0.01


def test_the_plans():
    assert [len(plan) for plan in plans(("fp32", "mixed"))] == [6, 5, 5, 3]
    assert [len(plan) for plan in plans(("fp32",))] == [3, 2]
    assert in_words(plans(("fp32",))[1]) == "launch, arithmetic fp32"


def test_slowing_down_a_relative_is_one_factor():
    slow = cells(precisions=("fp32",) * 3)
    slow = Cells(slow.precisions, slow.features, slow.seconds * 4.0, slow.weights)
    found = fit_slowdown(slow, {"fp32": TRUE["fp32"]}, Limits({"fp32": 1e12}, 60e9))["fp32"]
    assert found == scaled(TRUE["fp32"], 0.25, 0.25, 4.0)


def test_a_slowdown_never_lifts_a_rate_above_its_peak():
    fast = cells(precisions=("fp32",) * 3)
    fast = Cells(fast.precisions, fast.features, fast.seconds / 100.0, fast.weights)
    found = fit_slowdown(fast, {"fp32": TRUE["fp32"]}, Limits({"fp32": 1e12}, 60e9))["fp32"]
    # Bandwidth is the first to meet its peak: 60 over 50 GB/s.
    assert found.bandwidth_bytes_per_s == pytest.approx(60e9)
    assert found.matmul_flops_per_s == pytest.approx(0.8e12 * 1.2)


def test_what_predicts_left_out_steps_is_chosen():
    measured = cells(noise=0.01)

    def right(some):
        return fit(some, plans(("fp32", "mixed"))[3], LIMITS)

    def truth(some):
        return TRUE

    def wrong(some):
        return {p: scaled(r, 0.5, 0.5, 2.0) for p, r in TRUE.items()}

    index, left_out = choose(measured, [wrong, right, truth])
    assert index == 2
    np.testing.assert_allclose(left_out, predicted_s(measured, TRUE))
    assert choose(measured, [wrong])[0] == 0


def test_leaving_out_leaves_one_out():
    measured = cells()
    assert len(measured.without(3)) == 7
    np.testing.assert_array_equal(measured.without(0).seconds, measured.seconds[1:])
