"""Calibration: what a device achieves of its datasheet, from measurements wherever there are any.

A device's rates come from the first of these that applies, and its ``status`` says which:

- ``measured``: its own file states rates that micro-benchmarks on it gave.
- ``calibrated``: it has at least two timed training steps, and few factors on the rates of its kind are
  fitted to them. Of the plans of ``pricing/regression.py`` with fewer free parameters than there are
  steps, the one is taken that predicts left-out steps best.
- ``inferred``: nobody timed it, and it has the rates of its kind (``pricing/priors.py``).

A precision of which nothing was measured differs from the nearest that was as it does in the kind.

How measured steps are priced, and why at flat lengths, is in ``pricing/cells.py``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial

import numpy as np

from fedsim.errors import HardwareError
from fedsim.hardware import Device, Measurement, load_device, measurements
from fedsim.pricing import regression
from fedsim.pricing.cells import measured_cells
from fedsim.pricing.priors import Prior, own_kind, prior_rates, priors, unit_peaks
from fedsim.pricing.rates import Rates

STATUSES = ("calibrated", "inferred", "measured")

MICRO_BENCHMARK_ERROR = 1.12
"""Multiplicative standard error of a step priced by micro-benchmarks on the device itself: of 12 steps on
two machines the root of the mean square of log ratios is 0.11 (``analysis/results/validate_host*.json``)."""

USUAL_LEFT_OUT, _BEFOREHAND = 1.08, 2
"""Multiplicative standard error of the 32 left-out steps of all calibrated devices; that of one takes in two
more that err by it, since two steps tell little of how far the next may be off."""

_NEAREST = {
    "mixed": ("bf16", "fp32"),
    "bf16": ("mixed", "fp32"),
    "tf32": ("fp32",),
    "fp32-strict": ("fp32",),
    "fp32": ("tf32", "fp32-strict", "mixed", "bf16"),
}


@dataclass(frozen=True)
class Residual:
    """A measured step beside its prediction.

    Attributes:
        measurement: the step.
        measured_s: what it took.
        predicted_s: by the rates of the calibration.
        left_out_s: predicted by a fit that did not see the step; None where nothing was fitted.
    """

    measurement: Measurement
    measured_s: float
    predicted_s: float
    left_out_s: float | None

    @property
    def error(self) -> float:
        """Predicted over measured, less 1."""
        return self.predicted_s / self.measured_s - 1.0

    @property
    def left_out_error(self) -> float | None:
        """The same by a fit that did not see the step."""
        return None if self.left_out_s is None else self.left_out_s / self.measured_s - 1.0


@dataclass(frozen=True)
class Calibration:
    """Effective rates of a device, and how far to trust them.

    Attributes:
        device: its name.
        status: one of ``STATUSES``.
        rates: by every training precision of the device, with its growth applied.
        kind: one of :data:`~fedsim.pricing.priors.KINDS`.
        plan: what was fitted or inferred, in words.
        parameters: how many numbers were fitted.
        residuals: every timed step of the device, on the device as sold.
        errors: multiplicative standard error of a step by precision, from 1 up: by left-out steps where
            it is calibrated, by left-out devices of its kind where it is inferred.
    """

    device: str
    status: str
    rates: Mapping[str, Rates] = field(hash=False)
    kind: str
    plan: str
    parameters: int
    residuals: tuple[Residual, ...]
    errors: Mapping[str, float] = field(hash=False)

    def standard_error(self, precision: str) -> float:
        """By what factor a step in a precision is off, as one standard deviation of its logarithm."""
        return self.errors[precision]

    @property
    def mean_error(self) -> float | None:
        """Mean absolute relative error over the timed steps; None without any."""
        return _mean([r.error for r in self.residuals])

    @property
    def worst_error(self) -> float | None:
        """Largest absolute relative error over the timed steps; None without any."""
        return max((abs(r.error) for r in self.residuals), default=None)

    @property
    def left_out_error(self) -> float | None:
        """Mean absolute relative error of predictions that did not see their step; None unfitted."""
        return _mean([r.left_out_error for r in self.residuals if r.left_out_error is not None])


def _mean(errors: Sequence[float]) -> float | None:
    return float(np.mean(np.abs(errors))) if errors else None


def calibrate(device: Device) -> Calibration:
    """What is known of a device's effective rates; computed once per process and device.

    Raises:
        HardwareError: if its relative does not exist, executes another backend, or leads back to it.
    """
    growth = device.growth
    if growth.sold is None:
        return _calibrate(device)
    calibration = _calibrate(growth.sold)
    rates = {
        p: regression.scaled(r, growth.compute, growth.bandwidth, 1 / growth.launch)
        for p, r in calibration.rates.items()
    }
    return replace(calibration, rates=rates)


def status_of(device: Device) -> str:
    """The status that :func:`calibrate` would give, without fitting anything."""
    if device.measured_rates is not None:
        return "measured"
    return "calibrated" if len(_timed(device)) >= 2 else "inferred"


def kind_of(device: Device, heirs: tuple[str, ...] = ()) -> str:
    """The kind of a device: that of its relative if its file names one, else by what it states.

    Raises:
        HardwareError: the relative does not exist, executes another backend, or leads back to the device.
    """
    if device.relative is None:
        return own_kind(device)
    return kind_of(_relative(device, heirs), (*heirs, device.name))


def _timed(device: Device) -> list[Measurement]:
    """The device's timed steps in precisions that it trains in."""
    return [m for m in measurements(device) if not m.oom and m.precision in device.precisions]


@cache
def _calibrate(device: Device) -> Calibration:
    """The calibration of a device as sold."""
    prior, timed = priors()[kind_of(device)], _timed(device)
    inferred = prior_rates(device, prior)
    if device.name.rpartition("@")[0] == device.relative is not None:
        return _in_mode(device, inferred)
    if device.measured_rates is not None:
        rates = _completed(device, _measured(device), inferred)
        errors = dict.fromkeys(rates, MICRO_BENCHMARK_ERROR)
        return _unfitted(device, "measured", prior, "measured on the device", rates, errors, timed)
    if len(timed) >= 2:
        return _fitted(device, timed, prior, inferred)
    errors = dict.fromkeys(inferred, prior.error)
    return _unfitted(device, "inferred", prior, _in_words(prior), inferred, errors, timed)


def _in_words(prior: Prior) -> str:
    devices = f"{len(prior.devices)} measured devices" if len(prior.devices) > 1 else "one measured device"
    return f"what {prior.steps} measured steps on {devices} of its kind ({prior.kind}) have in common"


def _unfitted(
    device: Device,
    status: str,
    prior: Prior,
    plan: str,
    rates: Mapping[str, Rates],
    errors: Mapping[str, float],
    timed: Sequence[Measurement],
) -> Calibration:
    residuals: tuple[Residual, ...] = ()
    if timed:
        cells = measured_cells(device, timed)
        residuals = tuple(
            Residual(m, float(t), float(p), None)
            for m, t, p in zip(timed, cells.seconds, regression.predicted_s(cells, rates), strict=True)
        )
    return Calibration(device.name, status, rates, prior.kind, plan, 0, residuals, errors)


def _fitted(
    device: Device, timed: Sequence[Measurement], prior: Prior, inferred: Mapping[str, Rates]
) -> Calibration:
    """The fit that predicts left-out steps best, of those with fewer parameters than steps."""
    cells = measured_cells(device, timed)
    known = regression.Known(inferred, {p: _least(device, p, rates) for p, rates in inferred.items()})
    precisions, whole = tuple(dict.fromkeys(cells.precisions)), any(m.whole_script for m in timed)
    choices = [plan for plan in regression.plans(precisions, whole) if len(plan) < len(cells)]
    makers = [partial(regression.fit, plan=plan, known=known) for plan in choices]
    chosen, left_out = regression.choose(cells, makers)
    found = makers[chosen](cells)
    rates = _completed(device, {p: found[p] for p in precisions}, inferred)
    residuals = tuple(
        Residual(m, float(t), float(p), float(q))
        for m, t, p, q in zip(
            timed, cells.seconds, regression.predicted_s(cells, rates), left_out, strict=True
        )
    )
    squares: dict[str, list[float]] = {}
    for residual, seconds in zip(residuals, left_out, strict=True):
        squares.setdefault(residual.measurement.precision, []).append(
            math.log(float(seconds) / residual.measured_s) ** 2
        )
    beforehand = [math.log(USUAL_LEFT_OUT) ** 2] * _BEFOREHAND
    own = {p: math.exp(math.sqrt(float(np.mean(some + beforehand)))) for p, some in squares.items()}
    unknown = max(max(own.values()), prior.error)
    same = {
        p: next((q for q in own if inferred[q] == inferred[p]), p) for p in rates
    }  # fp32, where there is no TF32
    errors = {p: own.get(same[p], unknown) for p in rates}
    words = regression.in_words(choices[chosen])
    return Calibration(
        device.name, "calibrated", rates, prior.kind, words, len(choices[chosen]), residuals, errors
    )


def _least(device: Device, precision: str, rates: Rates) -> dict[str, float]:
    """By feature, the factor on its seconds at which a device runs at its peak."""
    conv, matmul = unit_peaks(device, precision)
    memory = rates.bandwidth_bytes_per_s / device.memory_bandwidth_bytes_per_s
    return {
        "conv_flops": rates.conv_flops_per_s / conv,
        "grouped_conv_flops": rates.grouped_conv_flops_per_s / conv,
        "matmul_flops": rates.matmul_flops_per_s / matmul,
        "attention_flops": rates.attention_flops_per_s / matmul,
        "stream_bytes": memory,
        "optimizer_bytes": memory,
    }


def _completed(device: Device, found: Mapping[str, Rates], inferred: Mapping[str, Rates]) -> dict[str, Rates]:
    """Rates in every precision: of those that nobody measured, as the kind differs between the two."""
    rates = {}
    for precision in device.precisions:
        if precision in found:
            rates[precision] = found[precision]
            continue
        near = next(p for p in _NEAREST[precision] if p in found)
        rates[precision] = _moved(found[near], inferred[near], inferred[precision], device, precision)
    return rates


def _moved(known: Rates, was: Rates, now: Rates, device: Device, precision: str) -> Rates:
    """Rates that are known of one setting, changed as a kind's change between two; none above its peak."""
    conv_peak, matmul_peak = unit_peaks(device, precision)
    conv = now.conv_flops_per_s / was.conv_flops_per_s
    matmul = now.matmul_flops_per_s / was.matmul_flops_per_s
    memory = now.bandwidth_bytes_per_s / was.bandwidth_bytes_per_s
    return replace(
        known,
        conv_flops_per_s=min(known.conv_flops_per_s * conv, conv_peak),
        grouped_conv_flops_per_s=min(known.grouped_conv_flops_per_s * conv, conv_peak),
        matmul_flops_per_s=min(known.matmul_flops_per_s * matmul, matmul_peak),
        attention_flops_per_s=min(known.attention_flops_per_s * matmul, matmul_peak),
        bandwidth_bytes_per_s=known.bandwidth_bytes_per_s * memory,
        optimizer_bytes_per_s=known.optimizer_bytes_per_s and known.optimizer_bytes_per_s * memory,
    )


def _in_mode(device: Device, inferred: Mapping[str, Rates]) -> Calibration:
    """A board in one of its power modes: what is known of the board, changed as its kind's rates change."""
    board = _relative(device, ())
    known, was = _calibrate(board), prior_rates(board, priors()[kind_of(board)])
    rates = {p: _moved(known.rates[p], was[p], now, device, p) for p, now in inferred.items()}
    plan = f"what {board.name} has, in another power mode"
    return replace(
        known, device=device.name, status="inferred", rates=rates, plan=plan, parameters=0, residuals=()
    )


def _relative(device: Device, heirs: tuple[str, ...]) -> Device:
    """The device that a device is said to be like."""
    name = str(device.relative)
    if name in (*heirs, device.name):
        chain = " -> ".join((*heirs, device.name, name))
        raise HardwareError(f"leads back to where it began: {chain}", file=device.file, key="relative")
    try:
        kin = load_device(name)
    except HardwareError as fault:
        if fault.file is not None:
            raise
        raise HardwareError(fault.message, file=device.file, key="relative") from None
    if kin.backend != device.backend:
        raise HardwareError(
            f"{kin.name} executes on {kin.backend}, this device on {device.backend}; name one like it",
            file=device.file,
            key="relative",
        )
    return kin


def _measured(device: Device) -> dict[str, Rates]:
    """The rates that the device's own file states."""
    stated = device.measured_rates
    assert stated is not None
    return {
        precision: Rates(
            launch_s=stated.launch_s,
            conv_flops_per_s=kinds["conv"],
            grouped_conv_flops_per_s=kinds["grouped_conv"],
            matmul_flops_per_s=kinds["matmul"],
            attention_flops_per_s=kinds["attention"],
            bandwidth_bytes_per_s=stated.bandwidth_bytes_per_s,
            optimizer_bytes_per_s=stated.optimizer_bytes_per_s,
        )
        for precision, kinds in stated.flops_per_s.items()
    }
