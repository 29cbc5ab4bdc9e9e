"""Calibration: what a device achieves of its datasheet, from measurements wherever there are any.

A device's rates come from the first of these that applies, and its ``status`` says which:

- ``measured``: its own file states rates that micro-benchmarks on it gave.
- ``calibrated``: fitted to at least two timed training steps. Of the plans of ``pricing/regression.py``
  with fewer free parameters than there are steps, the one is taken that predicts left-out steps
  best. For a device with a relative, to be that relative slowed by one factor is a further plan.
- ``inferred``: nobody timed it, and it inherits the efficiency of its ``relative``
  (``pricing/inherit.py``).
- ``datasheet``: it has no relative either. Each share of its datasheet is the lowest, and its
  launch time the longest, that any measured device of the catalogue with the same backend has.

How measured steps are priced, and why at flat lengths, is in ``pricing/cells.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial

import numpy as np

from fedsim.errors import HardwareError
from fedsim.hardware import Device, Measurement, load_device, measurements
from fedsim.pricing import regression
from fedsim.pricing.cells import measured_cells
from fedsim.pricing.inherit import Efficiency, efficiencies, rates_for, training_peaks
from fedsim.pricing.rates import Rates

STATUSES = ("calibrated", "inferred", "datasheet", "measured")


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
        relative: the device whose efficiency or pattern it has; None if it is its own.
        plan: what was fitted or inherited, in words.
        parameters: how many numbers were fitted.
        residuals: every timed step of the device, on the device as sold.
    """

    device: str
    status: str
    rates: Mapping[str, Rates] = field(hash=False)
    relative: str | None
    plan: str
    parameters: int
    residuals: tuple[Residual, ...]

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
        return _calibrate(device, ())
    calibration = _calibrate(growth.sold, ())
    rates = {
        p: regression.scaled(r, growth.compute, growth.bandwidth, 1 / growth.launch)
        for p, r in calibration.rates.items()
    }
    return replace(calibration, rates=rates)


def status_of(device: Device) -> str:
    """The status that :func:`calibrate` would give, without fitting anything."""
    if device.measured_rates is not None:
        return "measured"
    if len(_timed(device)) >= 2:
        return "calibrated"
    return "inferred" if device.relative is not None else "datasheet"


def _timed(device: Device) -> list[Measurement]:
    """The device's timed steps in precisions that it trains in."""
    return [m for m in measurements(device) if not m.oom and m.precision in device.training_precisions]


@cache
def _calibrate(device: Device, heirs: tuple[str, ...]) -> Calibration:
    """The calibration of a device as sold; ``heirs`` are those on whose behalf it is asked."""
    timed = _timed(device)
    if device.measured_rates is not None:
        return _unfitted(device, "measured", None, "measured on the device", _measured(device), timed)
    relative = None if device.relative is None else _relative(device, heirs)
    if status_of(device) == "calibrated":
        return _fitted(device, timed, relative)
    if relative is not None:
        kin, known = relative
        rates = rates_for(device, efficiencies(kin, known.rates))
        return _unfitted(device, "inferred", kin.name, f"the efficiency of {kin.name}", rates, timed)
    plan = f"the lowest efficiency of any measured device that executes on {device.backend}"
    return _unfitted(device, "datasheet", None, plan, rates_for(device, _lowest(device.backend)), timed)


def _unfitted(
    device: Device,
    status: str,
    relative: str | None,
    plan: str,
    rates: Mapping[str, Rates],
    timed: Sequence[Measurement],
) -> Calibration:
    residuals: tuple[Residual, ...] = ()
    if timed:
        cells = measured_cells(device, timed)
        residuals = tuple(
            Residual(m, float(t), float(p), None)
            for m, t, p in zip(timed, cells.seconds, regression.predicted_s(cells, rates), strict=True)
        )
    return Calibration(device.name, status, rates, relative, plan, 0, residuals)


def _fitted(
    device: Device, timed: Sequence[Measurement], relative: tuple[Device, Calibration] | None
) -> Calibration:
    """The fit that predicts left-out steps best, of those with fewer parameters than steps."""
    cells = measured_cells(device, timed)
    peaks, bandwidth = training_peaks(device), device.memory_bandwidth_bytes_per_s
    limits = regression.Limits(peaks, bandwidth * regression.STREAM_SHARE[device.backend])
    precisions = tuple(dict.fromkeys(cells.precisions))
    choices: list[tuple[str, int, str | None, regression.Maker]] = [
        (regression.in_words(plan), len(plan), None, partial(regression.fit, plan=plan, limits=limits))
        for plan in regression.plans(precisions)
        if len(plan) < len(cells)
    ]
    slower = regression.Limits(peaks, bandwidth)
    if relative is not None:
        kin, known = relative
        pattern = {p: known.rates[p] for p in device.training_precisions if p in known.rates}
        if set(precisions) <= set(pattern):
            as_kin = partial(regression.fit_slowdown, relative=pattern, limits=slower)
            choices.append((f"{kin.name}, slowed by one factor", 1, kin.name, as_kin))
    if not choices:
        pattern = rates_for(device, _lowest(device.backend))
        as_least = partial(regression.fit_slowdown, relative=pattern, limits=slower)
        choices.append((f"the lowest efficiency on {device.backend}, times one factor", 1, None, as_least))
    chosen, left_out = regression.choose(cells, [choice[3] for choice in choices])
    plan, parameters, kin_name, maker = choices[chosen]
    rates = rates_for(device, efficiencies(device, maker(cells)))
    residuals = tuple(
        Residual(m, float(t), float(p), float(q))
        for m, t, p, q in zip(
            timed, cells.seconds, regression.predicted_s(cells, rates), left_out, strict=True
        )
    )
    return Calibration(device.name, "calibrated", rates, kin_name, plan, parameters, residuals)


def _relative(device: Device, heirs: tuple[str, ...]) -> tuple[Device, Calibration]:
    """The relative of a device that names one, and its calibration."""
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
    return kin, _calibrate(kin, (*heirs, device.name))


@cache
def _lowest(backend: str) -> dict[str, Efficiency]:
    """The lowest efficiency by precision of the catalogue's measured devices."""
    names = sorted({m.device for m in measurements() if not m.oom})
    found: dict[str, list[Efficiency]] = {}
    for name in names:
        device = load_device(name)
        if device.backend != backend:
            continue
        for precision, efficiency in efficiencies(device, _calibrate(device, ()).rates).items():
            found.setdefault(precision, []).append(efficiency)
    return {precision: Efficiency.least(several) for precision, several in found.items()}


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
