"""What a device achieves: the few rates that turn the work of a training step into seconds.

A step is priced additively: every feature of :data:`FEATURES` is a plain count that follows from
the layer trace and the technique alone, and the device pays so many seconds for one unit of it.

    step_s = sum over features of  feature * seconds_per_unit(feature)

Additive, not a roofline: on the devices that were measured, arithmetic and memory traffic of
training do not overlap enough to take the larger of the two. A rate of infinity means that a
feature costs nothing on its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

FEATURES = (
    "launches",
    "conv_flops",
    "grouped_conv_flops",
    "matmul_flops",
    "attention_flops",
    "operand_bytes",
    "stream_bytes",
    "optimizer_bytes",
    "examples",
)
"""What a step costs, in this order in every feature vector (forward, backward and optimizer):

- ``launches``: kernels started, each operator of the trace counted once.
- ``conv_flops``: ungrouped convolutions; 1 multiply-add = 2 FLOP.
- ``grouped_conv_flops``: grouped convolutions (the positional one), which reach other speeds.
- ``matmul_flops``: linear layers.
- ``attention_flops``: the batched products of attention, stored or fused.
- ``operand_bytes``: read and written by the four kinds of kernels above.
- ``stream_bytes``: read and written by everything else: norms, activations, dropout, casts, loss.
- ``optimizer_bytes``: read and written by the optimizer, weights and state.
- ``examples``: of the batch; what the training program does for each outside the model.
"""


_MAY_BE_0 = ("launch_s", "host_s")


@dataclass(frozen=True)
class Rates:
    """Effective rates of one device in one precision; positive, ``inf`` where a feature is free."""

    launch_s: float
    conv_flops_per_s: float
    grouped_conv_flops_per_s: float
    matmul_flops_per_s: float
    attention_flops_per_s: float
    bandwidth_bytes_per_s: float
    operand_bytes_per_s: float = math.inf
    """Memory traffic of arithmetic kernels; ``inf`` where it hides behind their arithmetic."""
    optimizer_bytes_per_s: float | None = None
    """Memory traffic of the optimizer, which works in place on long tensors; as ``bandwidth`` if None."""
    host_s: float = 0.0
    """Of one example outside the model: reading, decoding and copying it, where a whole script was timed."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            if math.isnan(value) or value < 0 or (value == 0 and field.name not in _MAY_BE_0):
                raise ValueError(
                    f"{field.name} is {value!r}; a rate is positive, launch_s and host_s are not negative"
                )

    def seconds_per_unit(self) -> NDArray[np.float64]:
        """Seconds for one unit of each feature, in the order of :data:`FEATURES`."""
        return np.array(
            [
                self.launch_s,
                1.0 / self.conv_flops_per_s,
                1.0 / self.grouped_conv_flops_per_s,
                1.0 / self.matmul_flops_per_s,
                1.0 / self.attention_flops_per_s,
                1.0 / self.operand_bytes_per_s,
                1.0 / self.bandwidth_bytes_per_s,
                1.0 / (self.optimizer_bytes_per_s or self.bandwidth_bytes_per_s),
                self.host_s,
            ]
        )
