"""What of a backward pass only the gradients of weights need, and what is kept for nothing else.

An operator works *for weights* if all that comes of it ends, within its own module, in gradients of
parameters; it works for the gradients of inputs if any of it is handed on to another module. One that gives
both at once (a convolution's backward, a norm's) is divided: to the weights goes what it writes and
multiplies for them; it is handed all of its tensors, and PyTorch keeps them, whatever is asked of it.

A tensor is kept for weights if every operator that reads it again works for weights.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from fedsim.tracing.flops import count
from fedsim.tracing.lifetimes import Storage
from fedsim.tracing.operators import Cost
from fedsim.tracing.records import Layer

aten = torch.ops.aten
_HANDED_ON, _WEIGHTS = "handed on", "weights"
_COLLECTED: tuple[None, str] = (None, _WEIGHTS)
"""What becomes of a storage that is a parameter's gradient."""
_SUMS = {aten.add.Tensor, aten.add_.Tensor}
"""Where gradients meet: what becomes of the sum becomes of its parts."""
_CONVOLUTION = aten.convolution_backward.default


@dataclass
class Operation:
    """An operator of the backward pass that did work.

    Attributes:
        func: the operator.
        layer: by number, to which it is charged.
        module: of the layer, with what parametrizes its weights.
        inputs: storages that it read.
        outputs: storages that it wrote, by result, with their bytes.
        products: of its arithmetic (see flops.py).
        cost: what it cost.
        collects: whether autograd adds up a parameter's gradient with it.
    """

    func: Any
    layer: int
    module: str
    inputs: list[Storage]
    outputs: list[tuple[Storage, int]]
    products: list[Any]
    cost: Cost
    collects: bool = False


def module_of(name: str) -> str:
    """The module whose weights a module computes with: parametrizations belong to their parent."""
    return name.partition(".parametrizations.")[0]


def divide(
    operations: Sequence[Operation],
    layers: Sequence[Layer],
    gradients: Collection[int],
    savers: dict[int, tuple[Storage, list[int]]],
) -> None:
    """Fill in what layers do, and keep, for the gradients of their weights.

    Args:
        operations: of the backward pass, in order.
        layers: of the step.
        gradients: identities of the storages that hold gradients of parameters.
        savers: by identity, the storages that are kept, and the layers that keep each, the first first.
    """
    becomes: dict[int, list[tuple[str | None, str]]] = defaultdict(list)  # by whom it is read, and for what
    for_inputs: set[int] = set()
    read: set[int] = set()
    for op in reversed(operations):
        weights: list[bool] = []
        passed: list[tuple[str | None, str]] = []
        for storage, _ in op.outputs:
            found = becomes.pop(id(storage), [])
            if op.collects or id(storage) in gradients:
                found = [*found, _COLLECTED]
            passed += found
            weights.append(bool(found) and all(end in (_COLLECTED, (op.module, _WEIGHTS)) for end in found))
        alone = all(weights)
        _charge(op, layers[op.layer], weights)
        for storage in op.inputs:
            read.add(id(storage))
            here = (op.module, _WEIGHTS if alone else _HANDED_ON)
            becomes[id(storage)] += passed if op.func in _SUMS or op.collects else [here]
            if not alone:
                for_inputs.add(id(storage))
    for key, (storage, by) in savers.items():
        if key in read and key not in for_inputs:
            layers[by[0]].weight_saved_bytes += storage.nbytes
            for other in by[1:]:
                if other != by[0]:
                    layers[other].shares = by[0]


def _charge(op: Operation, layer: Layer, weights: list[bool]) -> None:
    """Add an operator's work for weights to its layer's."""
    if not any(weights):
        return
    cost = op.cost
    flops, moved, launches = cost.flops, cost.moved_bytes, cost.launches
    if not all(weights):
        moved = sum(size for (_, size), ours in zip(op.outputs, weights, strict=True) if ours)
        flops, launches = 0, int(cost.launches > 1)
        if op.func is _CONVOLUTION:
            flops, launches = count(op.products[-1:]), sum(weights)
    layer.weight_flops += flops
    layer.weight_launches += launches
    if cost.arithmetic:
        layer.weight_operand_bytes += moved
    else:
        layer.weight_stream_bytes += moved
