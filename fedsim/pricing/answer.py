"""What one training step of one model costs on one device, as plain data: ``fedsim cost --json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedsim.hardware import load_device
from fedsim.pricing.pricer import Pricer
from fedsim.pricing.sizes import settled
from fedsim.pricing.technique import Technique
from fedsim.pricing.trace import load_trace
from fedsim.pricing.uncertainty import step_interval


def doubt(exact: bool, largest_error: float) -> str:
    """How far the counts of a trace that is not exact are off, in words; nothing of one that is."""
    return "" if exact else f"not exact: up to {100 * largest_error:.2g}% off"


def pricer_of(
    device: str, model: str, seconds: float | None, sizes: Mapping[str, int] | None = None, **technique: Any
) -> tuple[Pricer, int]:
    """The pricer of a model on a device, and the size of an example.

    Args:
        device: a name from ``hardware/`` or a device file.
        model: a name from ``traces/`` or a trace file.
        seconds: the longest sentence of a batch, for a model on waveforms.
        sizes: the largest size in a batch by its name, such as ``{"tokens": 128}``.
        technique: what :meth:`~fedsim.pricing.Technique.of` takes.

    Raises:
        InputError: for an unknown name, a damaged file, a technique that does not exist, or a size that
            the model does not have or can do nothing with.
    """
    trace, size = settled(load_trace(model), seconds, sizes)
    return Pricer(load_device(device), trace, Technique.of(**technique)), size


def answer(pricer: Pricer, batch: int, samples: int) -> dict[str, Any]:
    """Bytes, seconds and FLOPs of a step with ``batch`` examples of the size ``samples``.

    ``exact`` says whether the trace counts as the model does; if not, a count is off by up to
    ``largest_error`` of it, as far as was tried.
    """
    footprint = {part: float(value) for part, value in pricer.footprint(batch, samples).items()}
    step = {part: float(value) for part, value in pricer.step(batch, samples).items()}
    calibration, step_s = pricer.calibration, float(pricer.step_s(batch, samples))
    return {
        "parameters": pricer.parameters,
        "trained_bytes": pricer.trained_bytes,
        "exact": pricer.trace.exact,
        "largest_error": pricer.trace.largest_error,
        "forward_flops": float(pricer.forward_flops(batch, samples)),
        "forward_flops_paper": float(pricer.forward_flops_paper(batch, samples)),
        "training_flops": float(pricer.training_flops(batch, samples)),
        "saved_bytes": float(pricer.saved_bytes(batch, samples)),
        "footprint_bytes": float(pricer.footprint_bytes(batch, samples)),
        "footprint": footprint,
        "step_s": step_s,
        "interval": {"step_s": step_interval(pricer, step_s)},
        "step": step,
        "fits": bool(pricer.fits(batch, samples)),
        "memory_bytes": float(pricer.device.memory_bytes),
        "system_bytes": float(pricer.device.system_bytes),
        "calibration": {
            "status": calibration.status,
            "kind": calibration.kind,
            "standard_error": pricer.standard_error,
        },
    }
