"""From timed operators to the rates of a device.

    rate of a kind in a setting = sum over its operators of count * work / sum of count * median seconds

Work is FLOPs, or for operators without arithmetic the bytes that they move; counts are runs in a
step, so every shape weighs as much as it does in training. Small batches stay in the caches and
reach other rates than large ones. Of all settings together the rate is the one whose times are
nearest to the measured ones in the least squares of their relative errors, so each setting counts
alike: with r a setting's own rate, 1 / rate = sum of r / sum of r squared.

A peak is the best rate seen, of the dedicated measurements (one long copy, one large square
product) and of everything else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedsim.hardware.rates import KINDS
from fedsim.measure.operators import STREAM
from fedsim.measure.timing import Setting, Timed

_LONG_ENOUGH_FLOPS = 1e8
"""Arithmetic of an operator that is worth a rate of its own; shorter ones time the clock."""


@dataclass(frozen=True)
class Probes:
    """What was measured beside the operators of a step.

    Attributes:
        launch_s: from one operator's start to the next's when neither does any work.
        optimizer_bytes_per_s: of the optimizer's traffic, counted as ``pricing/optimizer.py`` does.
        copy_bytes_per_s: of one long copy, bytes read and written.
        product_flops_per_s: of one large square matrix product, by precision.
    """

    launch_s: float
    optimizer_bytes_per_s: float
    copy_bytes_per_s: float
    product_flops_per_s: Mapping[str, float]


@dataclass(frozen=True)
class HostRates:
    """The rates and peaks of a measured device, as its file states them.

    Attributes:
        launch_s: seconds a launch.
        bandwidth_bytes_per_s: of operators that only move memory.
        optimizer_bytes_per_s: of the optimizer.
        flops_per_s: by precision and kind of arithmetic.
        peak_bandwidth_bytes_per_s: the best rate seen.
        peak_flops_per_s: the best rate seen, by precision.
    """

    launch_s: float
    bandwidth_bytes_per_s: float
    optimizer_bytes_per_s: float
    flops_per_s: Mapping[str, Mapping[str, float]]
    peak_bandwidth_bytes_per_s: float
    peak_flops_per_s: Mapping[str, float]


def rate(timed: Sequence[Timed], kind: str, precision: str) -> float:
    """The rate of a kind of operator: FLOP/s, or bytes/s of ``stream``.

    Raises:
        ValueError: no operator is of that kind.
    """
    work: dict[Setting, float] = {}
    seconds: dict[Setting, float] = {}
    for t in timed:
        if t.operator.kind == kind and t.precision == precision:
            work[t.setting] = work.get(t.setting, 0.0) + t.operator.count * t.work
            seconds[t.setting] = seconds.get(t.setting, 0.0) + t.operator.count * t.seconds
    rates = [work[s] / seconds[s] for s in work if seconds[s] > 0]
    if not rates:
        raise ValueError(f"nothing of kind {kind!r} was timed in {precision}")
    return sum(r * r for r in rates) / sum(rates)


def summarize(timed: Sequence[Timed], probes: Probes) -> HostRates:
    """The rates of the device. Memory traffic is taken from fp32, which every device is timed in."""
    precisions = list(dict.fromkeys(t.precision for t in timed))
    flops = {p: {kind: rate(timed, kind, p) for kind in KINDS} for p in precisions}
    bandwidth = rate(timed, STREAM, "fp32")
    peaks = {
        p: max([probes.product_flops_per_s[p], *flops[p].values(), *_single(timed, p)]) for p in precisions
    }
    return HostRates(
        launch_s=probes.launch_s,
        bandwidth_bytes_per_s=bandwidth,
        optimizer_bytes_per_s=probes.optimizer_bytes_per_s,
        flops_per_s=flops,
        peak_bandwidth_bytes_per_s=max(bandwidth, probes.optimizer_bytes_per_s, probes.copy_bytes_per_s),
        peak_flops_per_s=peaks,
    )


def _single(timed: Sequence[Timed], precision: str) -> list[float]:
    """FLOP/s of each operator that does enough to have a rate of its own."""
    return [
        t.operator.cost.flops / t.seconds
        for t in timed
        if t.precision == precision and t.operator.cost.flops >= _LONG_ENOUGH_FLOPS and t.seconds > 0
    ]
