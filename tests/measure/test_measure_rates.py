"""Rates from given seconds, worked out by hand."""

import pytest

from fedsim.hardware.rates import KINDS
from fedsim.measure.rates import Probes, rate, summarize
from fedsim.measure.timing import Setting

PROBES = Probes(
    launch_s=1e-5, optimizer_bytes_per_s=30e9, copy_bytes_per_s=40e9, product_flops_per_s={"fp32": 90e9}
)


def test_a_rate_weighs_every_shape_by_its_runs_in_a_step(made):
    # 3 runs of 2 GFLOP in 0.1 s each and 1 run of 4 GFLOP in 0.7 s: 10 GFLOP in 1 s.
    timed = [made.timed("matmul", 2e9, [0.1], count=3), made.timed("matmul", 4e9, [0.7])]
    assert rate(timed, "matmul", "fp32") == pytest.approx(10e9)


def test_the_median_of_the_runs_counts(made):
    assert rate([made.timed("conv", 6e9, [0.5, 9.0, 0.25])], "conv", "fp32") == pytest.approx(12e9)


def test_settings_count_alike_whatever_their_size(made):
    # 4 and 1 GFLOP/s: 1/rate = (4 + 1) / (16 + 1). The large setting does a hundred times as much.
    timed = [
        made.timed("conv", 4e9, [1.0], setting=Setting(1, 4.0)),
        made.timed("conv", 400e9, [400.0], setting=Setting(4, 3.5)),
    ]
    assert rate(timed, "conv", "fp32") == pytest.approx(17e9 / 5)


def test_that_rate_has_the_least_squares_of_relative_errors(made):
    rates = (7.0, 5.0, 3.5)
    timed = [made.timed("conv", r, [1.0], setting=Setting(b, 3.0)) for b, r in enumerate(rates, 1)]

    def squares(candidate):
        return sum((own / candidate - 1) ** 2 for own in rates)

    best = rate(timed, "conv", "fp32")
    assert squares(best) < min(squares(best * 1.001), squares(best / 1.001))


def test_kinds_and_precisions_are_kept_apart(made):
    timed = [
        made.timed("conv", 1e9, [1.0]),
        made.timed("conv", 8e9, [1.0], precision="mixed"),
        made.timed("stream", 5e9, [2.0]),
    ]
    assert rate(timed, "conv", "fp32") == pytest.approx(1e9)
    assert rate(timed, "conv", "mixed") == pytest.approx(8e9)
    assert rate(timed, "stream", "fp32") == pytest.approx(2.5e9)
    with pytest.raises(ValueError, match="nothing of kind 'matmul'"):
        rate(timed, "matmul", "fp32")


def all_kinds(made, flops_per_s):
    return [made.timed(kind, flops_per_s, [1.0]) for kind in KINDS] + [made.timed("stream", 5e9, [1.0])]


def test_a_peak_is_the_best_rate_seen(made):
    slow = summarize(all_kinds(made, 10e9), PROBES)
    assert slow.peak_flops_per_s == {"fp32": 90e9}
    assert slow.peak_bandwidth_bytes_per_s == 40e9
    assert slow.bandwidth_bytes_per_s == pytest.approx(5e9)
    fast = summarize([*all_kinds(made, 10e9), made.timed("matmul", 200e9, [1.0])], PROBES)
    assert fast.peak_flops_per_s["fp32"] == pytest.approx(200e9)


def test_operators_too_short_to_time_make_no_peak(made):
    found = summarize([*all_kinds(made, 10e9), made.timed("matmul", 1000, [1e-9])], PROBES)
    assert found.peak_flops_per_s["fp32"] == 90e9
