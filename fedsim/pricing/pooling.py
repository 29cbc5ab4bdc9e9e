"""What the numbers of a kind are fitted to, and how well they foretell a device that was left out.

All timed steps of a kind's devices are priced by one :class:`~fedsim.pricing.priors.Prior`: the published
ones (``hardware/measurements/public``) and those that devices are calibrated by. The few free numbers of
``FREE`` minimise the logarithm of predicted over measured, with a loss that grows linearly for outliers;
steps of one device, model and precision count as one together. A step whose model has no trace waits for it.

Left out is always a whole chip: what the A100 with 40 GB tells is no news of the one with 80.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim.errors import TraceError
from fedsim.hardware import Device, Measurement, catalogue, load_device, measurements
from fedsim.hardware.record import PublishedStep, public_record
from fedsim.pricing.priors import Prior, own_kind, prior_rates, priors
from fedsim.pricing.sizes import WAVEFORM
from fedsim.pricing.step_time import step_work
from fedsim.pricing.technique import Technique
from fedsim.pricing.trace import LayerTrace, load_trace
from fedsim.units import SAMPLES_PER_S

_SHARE = (0.02, 1.0)
FREE: dict[str, dict[str, tuple[tuple[str, ...], tuple[float, float]]]] = {
    "gpu": {
        "launch_s": (("launch_s",), (1e-6, 1e-3)),
        "share": (("conv", "matmul"), _SHARE),
        "reach_32": (("reach_32",), (0.1, 1e3)),
        "reach_16": (("reach_16",), (0.1, 1e3)),
        "host_s": (("host_s",), (1e-4, 1.0)),
    },
    "jetson": {
        "launch_s": (("launch_s",), (1e-6, 1e-3)),
        "host_s": (("host_s",), (1e-4, 1.0)),
    },
    "arm": {"conv": (("conv",), _SHARE), "matmul": (("matmul",), _SHARE)},
    "apple": {"share": (("conv", "matmul"), _SHARE)},
    "x86": {},
}
"""What is fitted of each kind: a number, the fields of the prior that it is, and its bounds.

A Jetson has what a card has but for its host. On processors, bandwidth and launches are taken from
elsewhere (the last column of ``hardware/kinds.csv``): no step tells them from the rest.
"""

_DEPTHWISE = ("mobilenet-v2", "ssd-mobilenet-v1")
"""On processors, a convolution of one channel a group takes some 50 times as long for a FLOP as any
other (the same steps on a Raspberry Pi, or MNN on a phone), and no trace tells it from grouped ones."""
_OUTLIER = 0.3
_BEFOREHAND, _USUAL = 2, 1.3


@dataclass(frozen=True)
class Step:
    """A timed step of a device, as it is priced.

    Attributes:
        device: what it ran on.
        model: a layer trace.
        batch: examples.
        size: of one example, as the source says it.
        precision: that really ran.
        technique: everything else that differs from plain training, in words; empty if nothing.
        seconds: measured.
        features: of the step, in the order of ``FEATURES``.
        whole_script: whether reading and decoding the examples was timed as well.
        published: the row of the public record; None for a step of the catalogue's own.
    """

    device: Device
    model: str
    batch: int
    size: str
    precision: str
    technique: str
    seconds: float
    features: NDArray[np.float64]
    whole_script: bool
    published: PublishedStep | None

    @property
    def chip(self) -> str:
        """Devices that differ in memory only have the same."""
        return re.sub(r"-\d+gb$", "", self.device.name)

    @property
    def fitted(self) -> bool:
        """Whether a kind is fitted to it; on processors, depthwise convolutions are not."""
        return self.device.backend == "cuda" or self.model not in _DEPTHWISE

    def predicted_s(self, prior: Prior) -> float:
        """Seconds by what is known of the kind."""
        seconds = prior_rates(self.device, prior)[self.precision].seconds_per_unit()
        host = prior.host_s * self.batch if self.whole_script else 0.0
        return float(self.features @ seconds) + host


@dataclass(frozen=True)
class Waiting:
    """A published step that cannot be priced yet, and why."""

    published: PublishedStep
    why: str


@cache
def steps() -> tuple[tuple[Step, ...], tuple[Waiting, ...]]:
    """Every timed step that can be priced, the catalogue's own first; and those that cannot."""
    found = [_own(step) for step in measurements() if not step.oom]
    waiting: list[Waiting] = []
    names = {device.name for device in catalogue()}
    for row in public_record():
        trace = _trace(row.model)
        if row.device not in names:
            waiting.append(Waiting(row, "no such device" if row.device else "which device is not known"))
        elif trace is None:
            waiting.append(Waiting(row, "no trace yet"))
        elif trace.sizes and trace.sizes[0] != {"seconds": WAVEFORM}.get(row.axis, row.axis):
            waiting.append(Waiting(row, f"its trace goes by {trace.sizes[0]}"))
        else:
            found.append(_published(row, trace))
    return tuple(found), tuple(waiting)


@cache
def _trace(name: str) -> LayerTrace | None:
    try:
        return load_trace(name)
    except TraceError as fault:
        if fault.file is not None:
            raise
        return None


def _own(step: Measurement) -> Step:
    device, trace = load_device(step.device), load_trace(step.model)
    work = step_work(trace, device.backend, Technique(precision=step.precision))
    features = work.features(step.batch_size, round(step.seconds * SAMPLES_PER_S))
    size = f"{step.seconds:g} s"
    return Step(
        device, step.model, step.batch_size, size, step.precision, "", float(step.seconds_per_batch or 0),
        features, step.whole_script, None,
    )  # fmt: skip


def _published(row: PublishedStep, trace: LayerTrace) -> Step:
    device, stated = load_device(row.device), dict(row.technique)
    precision = stated.pop("precision", row.precision)
    if precision not in device.precisions:
        precision = "fp32"
    fields: dict[str, Any] = {
        name: int(value) if value.isdigit() else value == "true" if value in ("true", "false") else value
        for name, value in stated.items()
    }
    work = step_work(trace, device.backend, Technique.of(precision=precision, **fields))
    size = 1 if not trace.sizes else round(row.size * (SAMPLES_PER_S if trace.sizes[0] == WAVEFORM else 1))
    unit = "s" if row.axis == "seconds" else row.axis
    return Step(
        device, row.model, row.batch_size, f"{row.size:g} {unit}", precision,
        ", ".join(f"{name} {value}" for name, value in stated.items()), row.seconds_per_batch,
        work.features(row.batch_size, size), row.framework.startswith("SpeechBrain"), row,
    )  # fmt: skip


def of_kind(kind: str) -> list[Step]:
    """The steps that can be priced of a kind's devices."""
    return [step for step in steps()[0] if own_kind(step.device) == kind]


def fit(kind: str, seen: Sequence[Step], start: Prior) -> Prior:
    """The prior of a kind that explains timed steps best; what is not free is as in ``start``."""
    from scipy.optimize import least_squares

    free, used = FREE[kind], [step for step in seen if step.fitted]
    if not free or not used:
        return start
    alike = Counter((s.device.name, s.model, s.precision) for s in used)
    weights = np.array([alike[s.device.name, s.model, s.precision] ** -0.5 for s in used])
    bounds = np.log([limits for _, limits in free.values()]).T
    first = np.log([getattr(start, fields[0]) for fields, _ in free.values()])

    def residuals(values: NDArray[np.float64]) -> NDArray[np.float64]:
        prior = _with(start, kind, np.exp(values))
        return np.asarray(weights * np.array([math.log(s.predicted_s(prior) / s.seconds) for s in used]))

    inside = np.clip(first, bounds[0] + 1e-6, bounds[1] - 1e-6)
    best = least_squares(residuals, inside, loss="soft_l1", f_scale=_OUTLIER, bounds=bounds)
    return _with(start, kind, np.exp(best.x))


def _with(start: Prior, kind: str, values: NDArray[np.float64]) -> Prior:
    fields: dict[str, Any] = {
        name: float(value)
        for (names, _), value in zip(FREE[kind].values(), values, strict=True)
        for name in names
    }
    return replace(start, **fields)


@dataclass(frozen=True)
class Foretold:
    """A timed step beside what its kind foretells, fitted without any step of its chip."""

    step: Step
    predicted_s: float

    @property
    def ratio(self) -> float:
        """Predicted over measured."""
        return self.predicted_s / self.step.seconds


def left_out(kind: str, start: Prior | None = None) -> list[Foretold]:
    """Every step of a kind, foretold without its chip."""
    found: list[Foretold] = []
    start = start or priors()[kind]
    all_steps = of_kind(kind)
    for chip in dict.fromkeys(step.chip for step in all_steps):
        prior = fit(kind, [step for step in all_steps if step.chip != chip], start)
        found += [Foretold(s, s.predicted_s(prior)) for s in all_steps if s.chip == chip]
    return found


def standard_error(found: Sequence[Foretold]) -> float:
    """Multiplicative: the root of the mean square of log ratios, every chip counting alike.

    Few chips tell little of how far the next may be off: the mean takes in ``_BEFOREHAND`` more of them
    that err by ``_USUAL``, as cards do.
    """
    by_chip: dict[str, list[float]] = {}
    for one in found:
        if one.step.fitted:
            by_chip.setdefault(one.step.chip, []).append(math.log(one.ratio) ** 2)
    squares = [float(np.mean(chip)) for chip in by_chip.values()] + [math.log(_USUAL) ** 2] * _BEFOREHAND
    return math.exp(math.sqrt(float(np.mean(squares))))


@dataclass(frozen=True)
class Score:
    """How well steps are foretold: typical factor, bias (1 is none) and the worst factor."""

    steps: int
    typical: float
    bias: float
    worst: float


def score(found: Sequence[Foretold]) -> Score:
    """Of the steps that a kind is fitted to; at least one."""
    logs = np.log([one.ratio for one in found if one.step.fitted])
    factors = np.exp([np.median(np.abs(logs)), logs.mean(), np.abs(logs).max()])
    return Score(len(logs), *map(float, factors))


def refit() -> dict[str, Prior]:
    """Every kind's prior fitted anew to all steps that can be priced, with its error."""
    found: dict[str, Prior] = {}
    for kind, start in priors().items():
        if kind == "jetson":
            start = replace(start, **{name: getattr(found["gpu"], name) for name in _OF_CARDS})
        used = [step for step in of_kind(kind) if step.fitted]
        if FREE[kind] and used:
            start = fit(kind, used, start)
            error = standard_error(left_out(kind, start))
            start = replace(
                start, error=error, devices=tuple(sorted({s.device.name for s in used})), steps=len(used)
            )
        found[kind] = start
    return found


_OF_CARDS = ("conv", "matmul", "stream", "reach_32", "reach_16")
