"""Whether measured steps that ran out of memory are predicted to, and those that ran are not.

Training fits if the batch that is padded to the longest sentence fits, so a measurement is checked
at its ``longest_seconds``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from fedsim.hardware import Device, Measurement, measurements
from fedsim.pricing.cells import trace_of
from fedsim.pricing.footprint import footprint_bytes
from fedsim.pricing.step_time import StepWork
from fedsim.pricing.technique import Technique
from fedsim.pricing.trace import LayerTrace
from fedsim.units import SAMPLES_PER_S


@dataclass(frozen=True)
class MemoryCheck:
    """A measured step, and the memory that it would need.

    Attributes:
        measurement: the step; ``oom`` says what happened.
        needed_bytes: peak of the training process at the longest sentence.
        available_bytes: what the device's system leaves.
    """

    measurement: Measurement
    needed_bytes: float
    available_bytes: float

    @property
    def fits(self) -> bool:
        """What is predicted."""
        return self.needed_bytes <= self.available_bytes

    @property
    def agrees(self) -> bool:
        """Whether it happened as predicted."""
        return self.fits != self.measurement.oom

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        step = self.measurement
        return {
            "device": step.device,
            "model": step.model,
            "batch_size": step.batch_size,
            "longest_seconds": step.longest_seconds,
            "precision": step.precision,
            "needed_bytes": self.needed_bytes,
            "available_bytes": self.available_bytes,
            "measured_oom": step.oom,
            "predicted_oom": not self.fits,
        }


def memory_checks(devices: Sequence[Device]) -> list[MemoryCheck]:
    """Every measured step of the devices, timed or out of memory, in precisions that they train in."""
    return [
        _check(device, step)
        for device in devices
        for step in measurements(device)
        if step.precision in device.precisions
    ]


@cache
def _work(trace: LayerTrace, backend: str, precision: str) -> StepWork:
    return StepWork(trace, backend, Technique(precision=precision))


def _check(device: Device, step: Measurement) -> MemoryCheck:
    work = _work(trace_of(step), device.backend, step.precision)
    samples = round(step.longest_seconds * SAMPLES_PER_S)
    needed = float(footprint_bytes(work, device.runtime_bytes, step.batch_size, samples))
    return MemoryCheck(step, needed, device.memory_bytes - device.system_bytes)
