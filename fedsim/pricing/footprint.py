"""Peak memory of a training step, by part.

    footprint = weights + optimizer state + runtime
              + max(end of forward, backward sweep: saved + workspace + gradients so far,
                    optimizer step: all gradients + the optimizer's transient)
              + slack

Where gradients are released the optimizer steps inside the backward sweep, and so its transient is there
then; without a backward pass there are no gradients.

Saved tensors include the batch itself and, under autocast, the 16-bit copies of weights. The parts
are those of the worst moment, so they add up to the footprint.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedsim.pricing.memory import SLACK
from fedsim.pricing.step_time import StepWork
from fedsim.pricing.timeline import GRADIENT_BYTES
from fedsim.pricing.transfer import WEIGHT_BYTES

Array = NDArray[np.float64]

PARTS = ("weights", "gradients", "optimizer", "saved", "workspace", "runtime", "slack")


def footprint(work: StepWork, runtime_bytes: float, batch: ArrayLike, samples: ArrayLike) -> dict[str, Array]:
    """Bytes by part at the worst moment of a step.

    Args:
        work: trace, backend and technique.
        runtime_bytes: of the training process before any tensor.
        batch: sentences in the step.
        samples: of the longest waveform; broadcasts with ``batch``.
    """
    micro, length = np.broadcast_arrays(work.micro_batch(batch), np.asarray(samples))
    shape = micro.shape
    peak = _peak(work, micro.ravel(), length.ravel())
    gradients = float(work.gradients * GRADIENT_BYTES)
    stepping = _stepping_bytes(work) > sum(peak.values())
    peak["gradients"] = np.where(stepping, gradients, peak["gradients"])
    peak["saved"] = np.where(stepping, 0.0, peak["saved"])
    peak["workspace"] = np.where(stepping, work.optimizer.transient_bytes, peak["workspace"])
    parts: dict[str, Any] = {k: np.full(shape, v) for k, v in _constants(work, runtime_bytes).items()}
    parts |= {name: value.reshape(shape) for name, value in peak.items()}
    parts["slack"] = _lost(work) + SLACK[work.backend].share * sum(v.reshape(shape) for v in peak.values())
    return {name: parts[name] for name in PARTS}


def footprint_bytes(work: StepWork, runtime_bytes: float, batch: ArrayLike, samples: ArrayLike) -> Array:
    """The sum of :func:`footprint`, without its parts: for many batches at once."""
    micro, length = np.broadcast_arrays(work.micro_batch(batch), np.asarray(samples))
    flat, samples = micro.ravel(), length.ravel()
    axes = [axis.astype(float) for axis in work.trace.lengths(samples)]
    peak = work.several.moments(samples).peak_bytes(flat, axes)
    alone = flat == 1
    if np.any(alone) and work.single is not work.several:
        chosen = [axis[alone] for axis in axes]
        peak[alone] = work.single.moments(samples[alone]).peak_bytes(flat[alone], chosen)
    dynamic = np.maximum(peak + _inside_bytes(work), _stepping_bytes(work)).reshape(micro.shape)
    constant = sum(_constants(work, runtime_bytes).values()) + _lost(work)
    return np.asarray(constant + (1.0 + SLACK[work.backend].share) * dynamic)


def _constants(work: StepWork, runtime_bytes: float) -> dict[str, float]:
    """What lives through the step."""
    return {
        "weights": float(work.course.trace.parameters * WEIGHT_BYTES),
        "optimizer": work.optimizer.state_bytes,
        "runtime": float(runtime_bytes),
    }


def _lost(work: StepWork) -> float:
    """The part of the slack that no batch changes."""
    slack = SLACK[work.backend]
    return slack.fixed_bytes + slack.gradient_share * work.gradients * GRADIENT_BYTES


def _stepping_bytes(work: StepWork) -> float:
    """What is alive beside it while the optimizer steps."""
    return float(work.gradients * GRADIENT_BYTES) + work.optimizer.transient_bytes


def _inside_bytes(work: StepWork) -> float:
    """What the optimizer takes inside the backward pass."""
    return work.optimizer.transient_bytes if work.technique.release_gradients else 0.0


def _peak(work: StepWork, micro: Array, samples: Array) -> dict[str, Array]:
    """Saved, workspace and gradients at the largest moment of forward and backward."""
    axes = [axis.astype(float) for axis in work.trace.lengths(samples)]
    found = work.several.moments(samples).peak(micro, axes)
    alone = micro == 1
    if np.any(alone) and work.single is not work.several:
        chosen = [axis[alone] for axis in axes]
        single = work.single.moments(samples[alone]).peak(micro[alone], chosen)
        for name, values in single.items():
            found[name][alone] = values
    found["workspace"] = found["workspace"] + _inside_bytes(work)
    return found
