"""What an optimizer keeps and moves, by formula: it is not part of a layer trace.

Passes are reads or writes of one fp32 tensor as long as the parameters, counted from the
operations of PyTorch 2.13's ``torch.optim`` (``_single_tensor_*`` on a CPU, ``_multi_tensor_*`` on
CUDA; both do the same arithmetic):

- sgd: ``p.add_(g)`` 3.
- momentum: ``buf.mul_`` 2, ``buf.add_(g)`` 3, ``p.add_(buf)`` 3.
- adam: ``m.lerp_(g)`` 3, ``v.mul_`` 2, ``v.addcmul_(g, g)`` 3, ``sqrt`` 2, ``div`` 2, ``add_`` 2,
  ``addcdiv_`` 4; adamw: ``p.mul_`` 2 more.
- adafactor: decay 2, ``norm(p)`` 1, row and column means of the squared gradient 2, their product
  1, ``clamp_`` 2, ``rsqrt_`` 2, ``mul_(g)`` 3, ``norm`` 1, ``p.add_`` 3.
- adam8bit: one fused kernel of bitsandbytes reads g, p and two bytes of state and writes p and
  state, 16 bytes a parameter. State: one byte for each moment and an fp32 scale for every block
  of 256 (bitsandbytes 0.44).

A transient is what is alive beside weights, gradients and state while the optimizer steps: the
multi-tensor Adam on CUDA makes the square roots of all tensors at once, elsewhere one tensor at a
time.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

FP32_BYTES = 4
_CHUNK = 65536 * 320
"""Elements that one launch of a multi-tensor kernel covers (aten's MultiTensorApply.cuh)."""


@dataclass(frozen=True)
class Optimizer:
    """The costs of one optimizer per parameter; ``operations`` are kernels per tensor."""

    state_bytes: float
    moved_bytes: float
    operations: int
    keeps_sides: bool = False
    transient_everything: bool = False


_OPTIMIZERS = {
    "sgd": Optimizer(0.0, 3.0 * FP32_BYTES, 1),
    "momentum": Optimizer(4.0, 8.0 * FP32_BYTES, 3),
    "adam": Optimizer(8.0, 18.0 * FP32_BYTES, 7, transient_everything=True),
    "adamw": Optimizer(8.0, 20.0 * FP32_BYTES, 8, transient_everything=True),
    "adafactor": Optimizer(0.0, 17.0 * FP32_BYTES, 10, keeps_sides=True),
    "adam8bit": Optimizer(2.0 + 2 * FP32_BYTES / 256, 16.0, 1),
}


@dataclass(frozen=True)
class OptimizerCost:
    """What one step of the optimizer costs for a whole model."""

    state_bytes: float
    transient_bytes: float
    moved_bytes: float
    launches: int


def optimizer_cost(
    name: str, backend: str, parameters: int, tensors: int, sides: int, largest: int, scaled: bool
) -> OptimizerCost:
    """The cost of a step.

    Args:
        name: one of :data:`~fedsim.pricing.technique.OPTIMIZERS`.
        backend: ``cpu`` or ``cuda``.
        parameters: numbers that are trained.
        tensors: tensors that hold them.
        sides: numbers in their rows and columns, what a factored optimizer keeps.
        largest: numbers in the largest tensor.
        scaled: whether gradients are unscaled first (fp16 autocast): 2 more passes.
    """
    kind = _OPTIMIZERS[name]
    fused = backend == "cuda" and name not in ("adafactor", "adam8bit")
    per_operation = ceil(parameters / _CHUNK) if fused else tensors
    moved = kind.moved_bytes + (2 * FP32_BYTES if scaled else 0)
    launches = kind.operations * per_operation + (2 if scaled else 0)
    everything = kind.transient_everything and backend == "cuda"
    transient = (parameters if everything else largest) * FP32_BYTES if name not in ("sgd", "adam8bit") else 0
    state = kind.state_bytes * parameters + (FP32_BYTES * sides if kind.keeps_sides else 0)
    return OptimizerCost(state, float(transient), moved * parameters, launches)


def zeroth_order_cost(parameters: int, tensors: int, largest: int) -> OptimizerCost:
    """The cost of a step of MeZO (Malladi et al., NeurIPS 2023, algorithm 1), without optimizer state.

    Weights are moved along a random direction three times and updated once, tensor by tensor. Each time the
    direction is drawn again (a write) and added (two reads and a write): two kernels a tensor.

    Args:
        parameters: numbers that are trained.
        tensors: tensors that hold them.
        largest: numbers in the largest of them, whose direction is alive.
    """
    passes = 3 + 1
    return OptimizerCost(
        0.0, float(largest * FP32_BYTES), passes * 4.0 * FP32_BYTES * parameters, passes * 2 * tensors
    )
