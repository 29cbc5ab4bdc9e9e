"""Devices and calibrations as plain data: what ``fedsim devices`` prints as JSON and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fedsim.hardware import Device, startup
from fedsim.hardware.device import PEAK_PRECISIONS
from fedsim.pricing import LayerTrace, Pricer, Technique
from fedsim.pricing.calibration import Calibration, Residual, status_of
from fedsim.pricing.sizes import batch_in_words, per_unit, sizes_of


@dataclass(frozen=True)
class AskedStep:
    """A training step to price on devices: ``batch`` examples of ``size``, as the trace counts it."""

    trace: LayerTrace
    batch: int
    size: int

    @property
    def in_words(self) -> str:
        """``language_model, 4 x 128 tokens``."""
        size = self.size / per_unit(self.trace)
        return f"{self.trace.name}, {batch_in_words(self.trace, self.batch, size)}"

    def on(self, device: Device) -> dict[str, Any]:
        """What the step takes and needs, trained plainly in the device's first precision (fp32 if it can)."""
        able = device.training_precisions
        technique = Technique(precision="fp32" if "fp32" in able else able[0])
        pricer = Pricer(device, self.trace, technique)
        return {
            "model": self.trace.name,
            "batch": self.batch,
            "sizes": sizes_of(self.trace, self.size),
            "precision": technique.precision,
            "step_s": float(pricer.step_s(self.batch, self.size)),
            "footprint_bytes": float(pricer.footprint_bytes(self.batch, self.size)),
            "fits": bool(pricer.fits(self.batch, self.size)),
        }

    def flat(self, device: Device) -> dict[str, Any]:
        """The same as columns of a table, each size one of them."""
        step = self.on(device)
        return {**step.pop("sizes"), **step}


def as_dict(device: Device) -> dict[str, Any]:
    """A device as plain data, in SI units."""
    return {
        "name": device.name,
        "title": device.title,
        "family": device.family,
        "released": device.released,
        "backend": device.backend,
        "memory_bytes": device.memory_bytes,
        "memory_shared": device.memory_shared,
        "memory_bandwidth_bytes_per_s": device.memory_bandwidth_bytes_per_s,
        "peak_flops_per_s": dict(device.peak_flops_per_s),
        "training_precisions": list(device.training_precisions),
        "system_bytes": device.system_bytes,
        "runtime_bytes": device.runtime_bytes,
        "idle_w": device.idle_w,
        "active_w": device.active_w,
        "battery_j": device.battery_j,
        "sustained": device.sustained,
        "throttle_after_s": device.throttle_after_s,
        "startup_s": startup(device).seconds,
        "modes": list(device.modes),
        "status": status_of(device),
        "relative": device.relative,
        "estimated": list(device.estimated),
        "sources": dict(device.sources),
    }


def calibration_dict(calibration: Calibration) -> dict[str, Any]:
    """A calibration as plain data."""
    return {
        "status": calibration.status,
        "kind": calibration.kind,
        "plan": calibration.plan,
        "parameters": calibration.parameters,
        "measurements": len(calibration.residuals),
        "mean_error": calibration.mean_error,
        "worst_error": calibration.worst_error,
        "left_out_error": calibration.left_out_error,
        "standard_error": dict(calibration.errors),
        "rates": {
            p: {k: (v if v is not None and math.isfinite(v) else None) for k, v in vars(r).items()}
            for p, r in calibration.rates.items()
        },
        "residuals": [residual_dict(r) for r in calibration.residuals],
    }


def residual_dict(residual: Residual) -> dict[str, Any]:
    """A measured step beside its prediction, as plain data."""
    step = residual.measurement
    return {
        "device": step.device,
        "model": step.model,
        "batch_size": step.batch_size,
        "seconds": step.seconds,
        "precision": step.precision,
        "measured_s": residual.measured_s,
        "predicted_s": residual.predicted_s,
        "error": residual.error,
        "left_out_error": residual.left_out_error,
        "source": step.source,
    }


def flat(device: Device) -> dict[str, Any]:
    """A device as one row of plain values, without its sources."""
    row = as_dict(device)
    for precision in PEAK_PRECISIONS:
        row[f"peak_{precision}_flops_per_s"] = row["peak_flops_per_s"].get(precision)
    row["training_precisions"] = " ".join(device.training_precisions)
    row["modes"] = " ".join(device.modes)
    row["estimated"] = " ".join(device.estimated)
    del row["peak_flops_per_s"], row["sources"]
    return row


def summary(found: Sequence[Calibration]) -> dict[str, Any]:
    """How well all measured steps of several devices are met."""
    rows = [r for c in found for r in c.residuals]
    left_out = [abs(r.left_out_error) for r in rows if r.left_out_error is not None]
    return {
        "measurements": len(rows),
        "parameters": sum(c.parameters for c in found),
        "mean_error": sum(abs(r.error) for r in rows) / len(rows) if rows else None,
        "worst_error": max((abs(r.error) for r in rows), default=None),
        "left_out_error": sum(left_out) / len(left_out) if left_out else None,
    }


def to_csv(rows: Iterable[dict[str, Any]]) -> str:
    """Rows with equal keys as CSV text, with a header."""
    found = list(rows)
    text = io.StringIO()
    if found:
        writer = csv.DictWriter(text, list(found[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)
    return text.getvalue()
