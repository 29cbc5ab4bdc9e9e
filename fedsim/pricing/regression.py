"""Fitting effective rates to measured steps: non-negative least squares on the relative error.

The seconds of a step are linear in the seconds that a device pays for one unit of each feature
(see ``pricing/rates.py``), so a fit is a small linear problem. A *plan* says which of these are free:

- ``launch``: seconds of one launch;
- ``conv``: seconds per FLOP of convolutions, grouped ones among them;
- ``matmul``: seconds per FLOP of linear layers, attention's products among them;
- ``arithmetic``: both of them as one.

Each is free for every precision apart, or shared by all. No rate may exceed the datasheet peak: with
seconds per unit written as ``bound + z``, that is ``z >= 0``. The rest is not fitted. Memory
traffic outside arithmetic kernels runs at a share of datasheet bandwidth that such streams reach on
devices of the kind (``STREAM_SHARE``), and the operands of arithmetic kernels are taken to hide
behind their arithmetic. What the measurements cannot carry is thus left to the datasheet.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedsim.pricing.rates import FEATURES, Rates

Array = NDArray[np.float64]

STREAM_SHARE = {"cuda": 0.9, "cpu": 0.8}
"""Share of datasheet bandwidth that streams reach, by backend.

cuda: BabelStream reaches about 0.9 of the peak of NVIDIA V100 and A100 (Deakin et al., Evaluating
attainable memory bandwidth of parallel programming models via BabelStream, IJCSE 2018, and the
results in its repository). cpu: STREAM reaches about 0.8 on laptops with two DDR4 channels
(McCalpin, STREAM: Sustainable Memory Bandwidth in High Performance Computers; user results).
"""

FREE = {
    "launch": ("launches",),
    "conv": ("conv_flops", "grouped_conv_flops"),
    "matmul": ("matmul_flops", "attention_flops"),
    "arithmetic": ("conv_flops", "grouped_conv_flops", "matmul_flops", "attention_flops"),
}
"""What a plan may leave free, and the features that it prices."""

_LAUNCH_UNIT_S = 1e-5


@dataclass(frozen=True)
class Limits:
    """What the datasheet says, as the fit needs it.

    Attributes:
        peak_flops_per_s: by training precision.
        bandwidth_bytes_per_s: effective rate of memory streams, not fitted.
    """

    peak_flops_per_s: Mapping[str, float]
    bandwidth_bytes_per_s: float


@dataclass(frozen=True)
class Cells:
    """Timed steps of one device.

    Attributes:
        precisions: the precision of each step.
        features: (steps, features), as :data:`~fedsim.pricing.rates.FEATURES`.
        seconds: measured, (steps,).
        weights: of each step's relative error, (steps,).
    """

    precisions: tuple[str, ...]
    features: Array
    seconds: Array
    weights: Array

    def __len__(self) -> int:
        return len(self.precisions)

    def without(self, index: int) -> Cells:
        """All steps but one."""
        kept = [i for i in range(len(self)) if i != index]
        return Cells(
            tuple(self.precisions[i] for i in kept),
            self.features[kept],
            self.seconds[kept],
            self.weights[kept],
        )


Parameter = tuple[str, str | None]
"""(one of FREE, the precision that it is free for, or None for all)."""

Plan = tuple[Parameter, ...]

Maker = Callable[[Cells], Mapping[str, Rates]]
"""A way to rates: steps in, rates by precision out."""


def plans(precisions: Sequence[str]) -> list[Plan]:
    """The plans to choose from for a device measured in these precisions, each once."""
    found: list[Plan] = [
        tuple((kind, p) for kind in ("launch", "conv", "matmul") for p in precisions),
        (*((kind, p) for kind in ("launch", "matmul") for p in precisions), ("conv", None)),
        (("launch", None), *((kind, p) for kind in ("conv", "matmul") for p in precisions)),
        (("launch", None), *(("arithmetic", p) for p in precisions)),
    ]
    if len(precisions) == 1:
        return [found[0], found[3]]
    return found


def in_words(plan: Plan) -> str:
    """``launch fp32, launch mixed, conv``: what a plan leaves free."""
    return ", ".join(kind if precision is None else f"{kind} {precision}" for kind, precision in plan)


def non_negative_least_squares(matrix: Array, target: Array) -> Array:
    """The z >= 0 that minimises ``|matrix z - target|``, by trying every set of positive entries.

    The optimum solves the unconstrained problem on the set of its positive entries, so the best
    feasible solution over all sets is the optimum. Exact, and quick for the few unknowns here.

    Args:
        matrix: (rows, unknowns), at most 12 unknowns.
        target: (rows,).
    """
    count = matrix.shape[1]
    if count > 12:
        raise ValueError(f"{count} unknowns are too many to try every set; at most 12")
    best, best_error = np.zeros(count), float(target @ target)
    for size in range(1, count + 1):
        for chosen in itertools.combinations(range(count), size):
            columns = matrix[:, chosen]
            solution = np.linalg.lstsq(columns, target, rcond=None)[0]
            if (solution < 0).any():
                continue
            error = columns @ solution - target
            if float(error @ error) < best_error - 1e-15:
                best_error = float(error @ error)
                best = np.zeros(count)
                best[list(chosen)] = solution
    return best


def fit(cells: Cells, plan: Plan, limits: Limits) -> dict[str, Rates]:
    """The rates, by precision, with the least weighted relative error under a plan.

    What a plan leaves free and no step tells of stays at its peak.

    Args:
        cells: measured steps.
        plan: what is free.
        limits: datasheet peaks and the bandwidth to assume.

    Returns:
        Rates for every precision that the plan names.
    """
    price = 1.0 / limits.bandwidth_bytes_per_s
    index = {name: k for k, name in enumerate(FEATURES)}
    streams = cells.features[:, [index["stream_bytes"], index["optimizer_bytes"]]].sum(axis=1) * price
    columns = np.zeros((len(cells), len(plan)))
    bounds = np.array([0.0 if kind == "launch" else 1.0 for kind, _ in plan])
    units = [_unit(kind, precision, limits) for kind, precision in plan]
    for j, (kind, precision) in enumerate(plan):
        rows = np.array([precision in (None, p) for p in cells.precisions])
        columns[:, j] = np.where(rows, cells.features[:, [index[n] for n in FREE[kind]]].sum(axis=1), 0.0)
        columns[:, j] *= units[j]
    scale = cells.weights / cells.seconds
    target = (cells.seconds - streams - columns @ bounds) * scale
    found = bounds + non_negative_least_squares(columns * scale[:, None], target)
    precisions = dict.fromkeys(p for _, p in plan if p is not None)
    return {p: _rates(p, plan, found * np.array(units), limits) for p in precisions}


def _unit(kind: str, precision: str | None, limits: Limits) -> float:
    """Seconds per unit of a feature at the datasheet peak; what a launch is counted in."""
    if kind == "launch":
        return _LAUNCH_UNIT_S
    peaks = limits.peak_flops_per_s
    return 1.0 / (min(peaks.values()) if precision is None else peaks[precision])


def _rates(precision: str, plan: Plan, seconds: Array, limits: Limits) -> Rates:
    by_kind = {kind: s for (kind, p), s in zip(plan, seconds, strict=True) if p in (None, precision)}
    conv, matmul = (by_kind.get(kind, by_kind.get("arithmetic", np.nan)) for kind in ("conv", "matmul"))
    return Rates(
        launch_s=float(by_kind["launch"]),
        conv_flops_per_s=float(1.0 / conv),
        grouped_conv_flops_per_s=float(1.0 / conv),
        matmul_flops_per_s=float(1.0 / matmul),
        attention_flops_per_s=float(1.0 / matmul),
        bandwidth_bytes_per_s=limits.bandwidth_bytes_per_s,
    )


def fit_slowdown(cells: Cells, relative: Mapping[str, Rates], limits: Limits) -> dict[str, Rates]:
    """The relative's rates, all slower by the one factor with the least weighted relative error.

    The factor is not so small that any rate would exceed its peak.

    Args:
        cells: measured steps.
        relative: rates of the relative, as they are, by precision.
        limits: datasheet peaks; its bandwidth is the datasheet's here.
    """
    times = np.array(
        [f @ relative[p].seconds_per_unit() for f, p in zip(cells.features, cells.precisions, strict=True)]
    )
    ratio = times / cells.seconds
    squares = cells.weights**2
    factor = float((squares * ratio).sum() / (squares * ratio**2).sum())
    for precision, rates in relative.items():
        peak = limits.peak_flops_per_s[precision]
        fastest = max(
            rates.conv_flops_per_s,
            rates.grouped_conv_flops_per_s,
            rates.matmul_flops_per_s,
            rates.attention_flops_per_s,
        )
        factor = max(factor, fastest / peak, rates.bandwidth_bytes_per_s / limits.bandwidth_bytes_per_s)
    return {precision: scaled(rates, 1 / factor, 1 / factor, factor) for precision, rates in relative.items()}


def scaled(rates: Rates, arithmetic: float, bandwidth: float, launch: float) -> Rates:
    """Rates with FLOP rates, memory rates and the host's times multiplied by a factor each."""
    return Rates(
        launch_s=rates.launch_s * launch,
        conv_flops_per_s=rates.conv_flops_per_s * arithmetic,
        grouped_conv_flops_per_s=rates.grouped_conv_flops_per_s * arithmetic,
        matmul_flops_per_s=rates.matmul_flops_per_s * arithmetic,
        attention_flops_per_s=rates.attention_flops_per_s * arithmetic,
        bandwidth_bytes_per_s=rates.bandwidth_bytes_per_s * bandwidth,
        operand_bytes_per_s=rates.operand_bytes_per_s * bandwidth,
        optimizer_bytes_per_s=rates.optimizer_bytes_per_s and rates.optimizer_bytes_per_s * bandwidth,
        host_s=rates.host_s * launch,
    )


def choose(cells: Cells, makers: Sequence[Maker]) -> tuple[int, Array]:
    """The maker of rates that predicts left-out steps best, by mean absolute relative error.

    Args:
        cells: measured steps, at least two.
        makers: functions from steps to rates by precision, at least one.

    Returns:
        Its index, and its prediction of each step from all the others, (steps,).
    """
    best = (np.inf, -1, np.empty(0))
    for index, maker in enumerate(makers):
        seconds = np.empty(len(cells))
        for i in range(len(cells)):
            rates = maker(cells.without(i))[cells.precisions[i]]
            seconds[i] = cells.features[i] @ rates.seconds_per_unit()
        error = float(np.abs(seconds / cells.seconds - 1).mean())
        if error < best[0]:
            best = (error, index, seconds)
    return best[1:]


def predicted_s(cells: Cells, rates: Mapping[str, Rates]) -> Array:
    """Seconds of each step at these rates."""
    return np.array(
        [f @ rates[p].seconds_per_unit() for f, p in zip(cells.features, cells.precisions, strict=True)]
    )
