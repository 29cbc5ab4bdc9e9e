"""Features of a training step, and the seconds they take on a device.

    step_s = launches * launch_s + sum over kinds of FLOPs / effective rate + bytes / bandwidth

Features are what :mod:`fedsim.pricing.rates` names; they depend on trace and technique only, so rates
can be fitted to measured steps by least squares over them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedsim.pricing.layers import LayerTrace
from fedsim.pricing.optimizer import OptimizerCost, optimizer_cost, zeroth_order_cost
from fedsim.pricing.polynomial import Polynomial
from fedsim.pricing.rates import FEATURES, Rates
from fedsim.pricing.states import Course, course
from fedsim.pricing.technique import Technique
from fedsim.pricing.work import Work, collect

Array = NDArray[np.float64]

PARTS: Mapping[str, tuple[str, ...]] = {
    "launches": ("launches",),
    "convolution": ("conv_flops", "grouped_conv_flops"),
    "matmul": ("matmul_flops",),
    "attention": ("attention_flops",),
    "memory": ("operand_bytes", "stream_bytes"),
    "optimizer": ("optimizer_bytes",),
    "host": ("examples",),
}
"""How features are shown: part of a step -> its features."""

EXAMPLES = FEATURES.index("examples")
"""The one feature that no trace knows: a program does it once for each example of the batch."""

TRACED = {"fp32": "fp32", "mixed": "mixed", "bf16": "mixed", "tf32": "fp32", "fp32-strict": "fp32"}
"""bfloat16 moves the same bytes as fp16 and runs the same kernels, so it has the same trace; TF32 is a way
to multiply numbers that stay fp32 in memory."""


def variant_of(backend: str, technique: Technique) -> str:
    """The variant of a trace that a backend executes under a technique."""
    return f"{backend}/{technique.attention}/{TRACED[technique.precision]}"


def update_cost(course: Course, backend: str, technique: Technique) -> OptimizerCost:
    """What it costs to update what trains, once a step.

    Where gradients are released, each tensor is stepped on its own: on CUDA no kernels for many at once.
    """
    if technique.forward_only:
        return zeroth_order_cost(course.parameters, course.tensors, course.largest)
    return optimizer_cost(
        technique.optimizer,
        "cpu" if technique.release_gradients else backend,
        course.parameters,
        tensors=course.tensors,
        sides=course.sides,
        largest=course.largest,
        scaled=technique.precision == "mixed",
    )


@lru_cache(maxsize=512)
def step_work(trace: LayerTrace, backend: str, technique: Technique) -> StepWork:
    """The work of a step, added up once for all devices that share it."""
    return StepWork(trace, backend, technique)


class StepWork:
    """The work of a step for any batch and length: trace, backend and technique, added up once.

    Args:
        trace: the model.
        backend: ``cpu`` or ``cuda``, as the device's file says.
        technique: how it is trained.

    Raises:
        TraceError: the trace lacks the variant.
    """

    def __init__(self, trace: LayerTrace, backend: str, technique: Technique):
        self.trace, self.backend, self.technique = trace, backend, technique
        self._single, several = trace.names(variant_of(backend, technique))
        self.several = collect(trace, several, technique)
        self._collected = {several: self.several}
        self.course = course(trace, technique)
        self.trained_parameters = self.course.parameters
        self.optimizer: OptimizerCost = update_cost(self.course, backend, technique)

    @property
    def single(self) -> Work:
        """Of a batch of 1; added up when it is first asked for, once for all copies of this."""
        if self._single not in self._collected:
            self._collected[self._single] = collect(self.trace, self._single, self.technique)
        return self._collected[self._single]

    @property
    def gradients(self) -> int:
        """Numbers in the gradients that are there at once, when all are finished."""
        if self.technique.forward_only:
            return 0
        return self.course.largest if self.technique.release_gradients else self.trained_parameters

    def micro_batch(self, batch: ArrayLike) -> Array:
        """Sentences in each micro-batch."""
        return np.ceil(np.asarray(batch, float) / self.technique.accumulate)

    def per_step(self) -> Array:
        """Features that no batch changes: the optimizer, and adding up micro-batches' gradients."""
        extra = dict.fromkeys(FEATURES, 0.0)
        extra["launches"] = float(self.optimizer.launches)
        extra["optimizer_bytes"] = self.optimizer.moved_bytes
        more = 0 if self.technique.forward_only else self.technique.accumulate - 1
        extra["launches"] += more * self.course.tensors
        extra["stream_bytes"] += more * 12.0 * self.trained_parameters
        return np.array([extra[name] for name in FEATURES])

    def features(self, batch: ArrayLike, samples: ArrayLike) -> Array:
        """What a step does.

        Args:
            batch: sentences in the step.
            samples: of the longest waveform, to which all are padded; broadcasts with ``batch``.

        Returns:
            (..., features) in the order of :data:`~fedsim.pricing.rates.FEATURES`.
        """
        columns = [
            self.evaluate(lambda work, k=k: work.features[k], batch, samples) * self.technique.accumulate
            for k in range(len(FEATURES))
        ]
        found = np.stack(columns, axis=-1) + self.per_step()
        found[..., EXAMPLES] = np.broadcast_to(np.asarray(batch, float), found.shape[:-1])
        return found

    def weighted(self, weights: Array, batch: ArrayLike, samples: ArrayLike) -> Array:
        """``features @ weights``, evaluated as one polynomial."""
        total = self.evaluate(
            lambda work: Polynomial.total(
                p * float(w) for p, w in zip(work.features, weights, strict=True) if w
            ),
            batch,
            samples,
        )
        once = float(self.per_step() @ weights) + np.asarray(batch, float) * float(weights[EXAMPLES])
        return np.asarray(total * self.technique.accumulate + once)

    def evaluate(self, pick: Any, batch: ArrayLike, samples: ArrayLike) -> Array:
        """A polynomial of the work at each micro-batch and length, batches of 1 by their own metrics."""
        micro, length = np.broadcast_arrays(self.micro_batch(batch), np.asarray(samples))
        axes = [axis.astype(float) for axis in self.trace.lengths(length)]
        values = np.asarray(pick(self.several)(micro, axes), float)
        alone = micro == 1
        if np.any(alone) and self.single is not self.several:
            chosen = [axis[alone] for axis in axes]
            values = np.array(values)
            values[alone] = pick(self.single)(micro[alone], chosen)
        return values


def seconds_by_part(features: Array, rates: Rates) -> dict[str, Array]:
    """Seconds of each part of a step; they add up to the step.

    Args:
        features: (..., features).
        rates: of the device in the technique's precision.
    """
    seconds = features * rates.seconds_per_unit()
    index = {name: k for k, name in enumerate(FEATURES)}
    return {part: seconds[..., [index[n] for n in names]].sum(-1) for part, names in PARTS.items()}


def throttled_s(work_s: ArrayLike, throttle_after_s: ArrayLike | None, sustained: ArrayLike) -> Array:
    """Seconds that work takes on devices that slow down once hot. Arrays broadcast.

    Args:
        work_s: seconds at full speed.
        throttle_after_s: full speed lasts this long; None or infinite if it lasts for ever.
        sustained: share of the speed that is left after it.
    """
    work = np.asarray(work_s, float)
    hot = np.maximum(work - (np.inf if throttle_after_s is None else throttle_after_s), 0.0)
    return np.asarray(work - hot + hot / sustained)


__all__ = ["PARTS", "StepWork", "Work", "seconds_by_part", "step_work", "throttled_s", "variant_of"]
