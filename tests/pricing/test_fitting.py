"""The solver against scipy's, and fits that have to find what made the data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.pricing.rates import FEATURES, Rates
from fedsim.pricing.regression import (
    Cells,
    Known,
    choose,
    fit,
    in_words,
    plans,
    predicted_s,
    scaled,
)
from fedsim.pricing.regression import non_negative_least_squares as solve

PEAKS = {"fp32": 1e12, "mixed": 8e12}
KIND = {
    "fp32": Rates(2e-5, 0.5e12, 0.5e12, 0.5e12, 0.5e12, 40e9),
    "mixed": Rates(2e-5, 3e12, 3e12, 4e12, 4e12, 40e9),
}
TRUE = {
    "fp32": Rates(5e-5, 0.4e12, 0.4e12, 0.4e12, 0.4e12, 40e9, host_s=0.03),
    "mixed": Rates(5e-5, 1.5e12, 1.5e12, 2e12, 2e12, 40e9, host_s=0.03),
}
PLAN = (("launch", None), ("host", None), ("arithmetic", "fp32"), ("arithmetic", "mixed"))


def known(peaks=PEAKS, bandwidth=60e9):
    least = {
        p: {
            "conv_flops": r.conv_flops_per_s / peaks[p],
            "grouped_conv_flops": r.conv_flops_per_s / peaks[p],
            "matmul_flops": r.matmul_flops_per_s / peaks[p],
            "attention_flops": r.matmul_flops_per_s / peaks[p],
            "stream_bytes": r.bandwidth_bytes_per_s / bandwidth,
            "optimizer_bytes": r.bandwidth_bytes_per_s / bandwidth,
        }
        for p, r in KIND.items()
    }
    return Known(KIND, least)


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


def test_a_fit_finds_the_factors_that_made_the_data():
    found = fit(cells(), PLAN, known())
    for precision, rates in TRUE.items():
        assert found[precision].launch_s == pytest.approx(rates.launch_s)
        assert found[precision].host_s == pytest.approx(rates.host_s)
        assert found[precision].conv_flops_per_s == pytest.approx(rates.conv_flops_per_s)
        assert found[precision].matmul_flops_per_s == pytest.approx(rates.matmul_flops_per_s)
    np.testing.assert_allclose(predicted_s(cells(), found), cells().seconds)


def test_what_no_step_tells_of_is_as_in_the_kind():
    alone = cells(precisions=("fp32",) * 4)
    found = fit(alone, PLAN, known())
    assert found["mixed"].conv_flops_per_s == KIND["mixed"].conv_flops_per_s
    assert found["mixed"].launch_s == pytest.approx(TRUE["fp32"].launch_s)  # that is shared


@pytest.mark.parametrize("whole_script", [False, True])
def test_no_rate_is_fitted_above_its_peak(whole_script):
    peaks = {"fp32": 0.35e12, "mixed": 1.2e12}
    for plan in plans(("fp32", "mixed"), whole_script):
        for precision, rates in fit(cells(), plan, known(peaks, 41e9)).items():
            if any(kind not in ("launch", "host") for kind, _ in plan):
                assert rates.conv_flops_per_s <= peaks[precision] * (1 + 1e-12)
                assert rates.matmul_flops_per_s <= peaks[precision] * (1 + 1e-12)
            assert rates.bandwidth_bytes_per_s <= 41e9 * (1 + 1e-12)


def test_weights_draw_the_fit_to_their_step():
    measured = cells(noise=0.3)
    weights = np.ones(8)
    weights[2] = 100.0
    heavy = Cells(measured.precisions, measured.features, measured.seconds, weights)
    errors = [
        abs(predicted_s(measured, fit(c, PLAN, known()))[2] / measured.seconds[2] - 1)
        for c in (measured, heavy)
    ]
    assert errors[1] < errors[0]
    assert errors[1] < 0.01


def test_the_plans():
    assert [in_words(plan) for plan in plans(("fp32",))] == [
        "everything",
        "launch, device",
        "launch, arithmetic",
        "launch, conv, matmul",
    ]
    whole = plans(("fp32", "mixed"), whole_script=True)
    assert [len(plan) for plan in whole] == [1, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 5, 5]
    assert len(set(whole)) == len(whole)
    # what a script does for each example would be booked as slow convolution
    assert not any("conv" in kind for plan in whole for kind, _ in plan)
    assert not any("host" in kind for plan in plans(("fp32", "mixed")) for kind, _ in plan)


def test_one_factor_slows_everything_down():
    slow = cells(precisions=("fp32",) * 3)
    exact = slow.features @ KIND["fp32"].seconds_per_unit()
    slow = Cells(slow.precisions, slow.features, exact * 4.0, slow.weights)
    found = fit(slow, (("everything", None),), known())
    assert found["fp32"].seconds_per_unit() == pytest.approx(KIND["fp32"].seconds_per_unit() * 4.0)
    assert found["mixed"].seconds_per_unit() == pytest.approx(KIND["mixed"].seconds_per_unit() * 4.0)


def test_one_factor_never_lifts_a_rate_above_its_peak():
    fast = cells(precisions=("fp32",) * 3)
    fast = Cells(fast.precisions, fast.features, fast.seconds / 100.0, fast.weights)
    found = fit(fast, (("everything", None),), known())["fp32"]
    # Bandwidth is the first to meet its peak: 60 over 40 GB/s, and arithmetic could do 1 over 0.5 TFLOP/s.
    assert found.bandwidth_bytes_per_s == pytest.approx(60e9)
    assert found.matmul_flops_per_s == pytest.approx(0.5e12 * 1.5)


def test_what_predicts_left_out_steps_is_chosen():
    measured = cells(noise=0.01)

    def right(some):
        return fit(some, PLAN, known())

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
