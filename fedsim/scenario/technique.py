"""From a scenario's training block to the technique that the cost model prices."""

from __future__ import annotations

from fedsim.cost.technique import Technique
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
        freeze_cnn=training.freeze_cnn,
    )
