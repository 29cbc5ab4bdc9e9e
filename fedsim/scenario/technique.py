"""From a scenario's training block to the technique that the cost model prices."""

from __future__ import annotations

from dataclasses import replace

from fedsim.pricing.technique import Technique
from fedsim.scenario.model import Training

_CHECKPOINTING: dict[bool | str, str] = {False: "none", True: "both"}


def technique(training: Training, precisions: tuple[str, ...] | None = None) -> Technique:
    """The technique of a training block on a device.

    Args:
        training: the block.
        precisions: what the device can train in; a precision that it lacks falls back to fp32.
            None: as the block says.
    """
    precision = training.precision
    if precisions is not None and precision not in precisions:
        precision = "fp32"
    return Technique(
        precision=precision,
        optimizer=training.optimizer,
        attention=training.attention,
        checkpointing=_CHECKPOINTING.get(training.checkpointing, str(training.checkpointing)),
        train=training.trained,
        depth=training.depth,
        release_gradients=training.release_gradients,
        forward_only=training.forward_only,
    )


def fallbacks(training: Training, plain: Technique) -> list[Technique]:
    """What a client does instead if ``plain`` needs more memory than it has, in the order it tries.

    ``shrink-batch`` halves the micro-batch again and again and accumulates gradients, so that the
    step stays the same; ``checkpoint`` recomputes the transformer's activations, then all.
    """
    if training.on_oom == "shrink-batch":
        halvings = range(1, training.batch_size.bit_length())
        return [replace(plain, accumulate=plain.accumulate * 2**k) for k in halvings]
    if training.on_oom == "checkpoint":
        order = ("none", "transformer", "both")
        already = order.index(plain.checkpointing) if plain.checkpointing in order else 1
        return [replace(plain, checkpointing=more) for more in order[already + 1 :]]
    return []
