"""Fitting a device's effective rates to its measured steps: by what factors it differs from its kind.

The seconds of a step are linear in the seconds that a device pays for one unit of each feature
(see ``pricing/rates.py``). A device begins with the rates of its kind (``pricing/priors.py``), so a fit
looks for few factors. A *plan* says which:

- ``launch``: seconds of one launch;
- ``host``: seconds of one example outside the model, for studies that timed whole scripts;
- ``arithmetic``: a factor on the seconds of all convolutions and matrix products;
- ``conv``, ``matmul``: on those of either of them;
- ``device``: on those of arithmetic and memory traffic;
- ``everything``: on those of launches as well.

Each is free for every precision apart, or shared by all; what a plan does not name is as in the kind, and
no example costs the host anything. No rate may exceed its datasheet peak: with factors written as
``bound + z``, that is ``z >= 0``, non-negative least squares on the relative error. What was fitted is the
device's own and is handed on to no other.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedsim.pricing.rates import FEATURES, Rates

Array = NDArray[np.float64]

_ARITHMETIC = ("conv_flops", "grouped_conv_flops", "matmul_flops", "attention_flops")
_MEMORY = ("operand_bytes", "stream_bytes", "optimizer_bytes")
FREE = {
    "launch": ("launches",),
    "host": ("examples",),
    "conv": ("conv_flops", "grouped_conv_flops"),
    "matmul": ("matmul_flops", "attention_flops"),
    "arithmetic": _ARITHMETIC,
    "device": (*_ARITHMETIC, *_MEMORY),
    "everything": (*_ARITHMETIC, *_MEMORY, "launches"),
}
"""What a plan may leave free, and the features that it prices."""

_SECONDS = {"launch": 1e-5, "host": 1e-2}
"""What is fitted as seconds and not as a factor, and what one unit of it is."""


@dataclass(frozen=True)
class Known:
    """What is known of a device before it is fitted.

    Attributes:
        rates: of its kind, by training precision.
        least: by precision and feature, the factor on its seconds at which it runs at its peak.
    """

    rates: Mapping[str, Rates]
    least: Mapping[str, Mapping[str, float]]

    def bound(self, kind: str, precision: str | None) -> float:
        """The least factor of a parameter under which nothing runs above its peak."""
        if kind in _SECONDS:
            return 0.0
        rows = self.least.values() if precision is None else (self.least[precision],)
        return max(row.get(feature, 0.0) for row in rows for feature in FREE[kind])


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


def plans(precisions: Sequence[str], whole_script: bool = False) -> list[Plan]:
    """The plans to choose from for a device measured in these precisions, each once, the shortest first.

    Where whole scripts were timed, what they do for each example grows with the batch as convolutions do:
    it gets a term of its own, and convolutions none, or it would be booked as slow convolution.
    """
    apart = tuple(precisions)
    launches = [(("launch", None),), tuple(("launch", p) for p in apart)]
    hosts: list[Plan] = [(), (("host", None),)] if whole_script else [()]
    shapes: list[Plan] = [
        (("device", None),),
        tuple(("device", p) for p in apart),
        tuple(("arithmetic", p) for p in apart),
    ]
    if len(apart) == 1:
        launches, shapes = launches[:1], [shapes[0], (("arithmetic", None),)]
    if not whole_script:
        shapes.append((("conv", None), ("matmul", None)))
    found: list[Plan] = [(("everything", None),)]
    found += [(*a, *b, *c) for a, b, c in itertools.product(launches, hosts, shapes)]
    return sorted(found, key=len)


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


def fit(cells: Cells, plan: Plan, known: Known) -> dict[str, Rates]:
    """The rates, by precision, with the least weighted relative error under a plan.

    Args:
        cells: measured steps, in precisions that are known.
        plan: what is free.
        known: rates to begin with, and how far each may be raised.

    Returns:
        Rates for every precision that is known; what no step tells of is as it was.
    """
    index = {name: k for k, name in enumerate(FEATURES)}
    price = np.array([known.rates[p].seconds_per_unit() for p in cells.precisions])
    seconds = cells.features * price
    fixed = seconds.copy()
    columns, bounds = np.zeros((len(cells), len(plan))), np.zeros(len(plan))
    for j, (kind, precision) in enumerate(plan):
        rows = np.array([precision in (None, p) for p in cells.precisions])
        features = [index[name] for name in FREE[kind]]
        unit = _SECONDS.get(kind)
        paid = seconds if unit is None else cells.features * unit
        columns[:, j] = np.where(rows, paid[:, features].sum(axis=1), 0.0)
        bounds[j] = known.bound(kind, precision)
        fixed[:, features] = 0.0
    scale = cells.weights / cells.seconds
    target = (cells.seconds - fixed.sum(axis=1) - columns @ bounds) * scale
    found = bounds + non_negative_least_squares(columns * scale[:, None], target)
    told = [(one, float(x)) for one, x, column in zip(plan, found, columns.T, strict=True) if column.any()]
    return {precision: _rates(precision, told, rates) for precision, rates in known.rates.items()}


def _rates(precision: str, told: Sequence[tuple[Parameter, float]], rates: Rates) -> Rates:
    """The rates of a kind with what was fitted applied."""
    factor = {kind: x for (kind, p), x in told if p in (None, precision)}
    everything = factor.get("everything", 1.0)
    device = factor.get("device", everything)
    arithmetic = factor.get("arithmetic", device)
    conv, matmul = factor.get("conv", arithmetic), factor.get("matmul", arithmetic)
    changed = scaled(rates, 1.0, 1.0 / device, everything)
    return replace(
        changed,
        launch_s=factor["launch"] * _SECONDS["launch"] if "launch" in factor else changed.launch_s,
        host_s=factor.get("host", 0.0) * _SECONDS["host"],
        conv_flops_per_s=rates.conv_flops_per_s / conv,
        grouped_conv_flops_per_s=rates.grouped_conv_flops_per_s / conv,
        matmul_flops_per_s=rates.matmul_flops_per_s / matmul,
        attention_flops_per_s=rates.attention_flops_per_s / matmul,
    )


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
