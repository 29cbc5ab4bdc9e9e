"""Measured steps as the fit needs them: the work of each, beside its seconds.

A measured step is priced at flat sequences of its average length, with Adam and stored attention.
For the paper's Table 2 that is right because its batches were sorted by length, so that hardly
anything was padded. Had they been shuffled and padded to their longest sentence, the cost on the
Raspberry Pi that does not grow with the batch would be about 8 s, which the memory traffic of Adam
cannot explain.

The work is added up here from the trace directly, without the moments of memory that a
:class:`~fedsim.pricing.step_time.StepWork` also prepares: the same numbers, in a tenth of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from fedsim.errors import TraceError
from fedsim.hardware import Device, Measurement
from fedsim.pricing.optimizer import optimizer_cost
from fedsim.pricing.polynomial import value
from fedsim.pricing.rates import FEATURES
from fedsim.pricing.regression import Cells
from fedsim.pricing.step_time import variant_of
from fedsim.pricing.technique import Technique
from fedsim.pricing.trace import LayerTrace, load_trace
from fedsim.units import SAMPLES_PER_S

REFERENCE = ("wav2vec2-base", 4, 5.5, "fp32")
REFERENCE_WEIGHT = 5.0
"""The setting in which the study's whole procedure runs, and how often its relative error counts there."""


def measured_cells(device: Device, timed: Sequence[Measurement]) -> Cells:
    """The work of timed steps on a device.

    Args:
        device: what they ran on.
        timed: steps with a time, in precisions that the device trains in.

    Raises:
        TraceError: there is no trace of a model, or it is damaged.
    """
    return Cells(
        precisions=tuple(m.precision for m in timed),
        features=np.array([_features(device.backend, m) for m in timed]),
        seconds=np.array([m.seconds_per_batch for m in timed], float),
        weights=np.array(
            [REFERENCE_WEIGHT if m.whole_script and _setting(m) == REFERENCE else 1.0 for m in timed]
        ),
    )


def _setting(step: Measurement) -> tuple[str, int, float, str]:
    return step.model, step.batch_size, step.seconds, step.precision


@cache
def _trace(name: str) -> LayerTrace:
    return load_trace(name)


def trace_of(step: Measurement) -> LayerTrace:
    """The layer trace of a measured step's model.

    Raises:
        TraceError: there is none, said of the line where the step stands; or it is damaged.
    """
    try:
        return _trace(step.model)
    except TraceError as fault:
        if fault.file is not None:
            raise
        raise TraceError(fault.message, file=step.file, key=f"line {step.line}, model") from None


@cache
def _features(backend: str, step: Measurement) -> NDArray[np.float64]:
    trace = trace_of(step)
    technique = Technique(precision=step.precision)
    single, several = trace.names(variant_of(backend, technique))
    axes = [float(axis) for axis in trace.lengths(round(step.seconds * SAMPLES_PER_S))]
    found = dict.fromkeys(FEATURES, 0.0)
    for layer in trace.layers:
        profile = layer.profile(single if step.batch_size == 1 else several)
        for metric, polynomial in profile.counts.items():
            side, _, what = metric.partition("_")
            if side not in ("forward", "backward"):
                continue
            name = f"{layer.arithmetic or 'matmul'}_flops" if what == "flops" else what
            for key, coefficient in polynomial.terms.items():
                found[name] += value(key, step.batch_size, axes, coefficient)
    optimizer = optimizer_cost(
        technique.optimizer,
        backend,
        trace.parameters,
        tensors=sum(layer.tensors for layer in trace.layers),
        sides=sum(layer.sides for layer in trace.layers),
        largest=max(layer.parameters for layer in trace.layers),
        scaled=step.precision == "mixed",
    )
    found["launches"] += optimizer.launches
    found["optimizer_bytes"] += optimizer.moved_bytes
    found["examples"] = float(step.batch_size)
    return np.array([found[name] for name in FEATURES])
