"""What of a backward pass only the gradients of weights need, and what is kept for nothing else.

An operator works *for weights* if all that comes of it ends, within its own module, in gradients of
parameters; it works for the gradients of inputs if any of it is handed on to another module. One that gives
both at once (a convolution's backward, a norm's) is divided: to the weights goes what it writes and
multiplies for them; it is handed all of its tensors, and PyTorch keeps them, whatever is asked of it.

A tensor is kept for weights if every operator that reads it again works for weights.

Beside the repeated blocks something else may train, such as the quantizer of wav2vec 2.0, and both meet in a
layer after the blocks, its objective. What that layer does, and keeps, for nothing but the gradients of what
does not come through the blocks is set aside as a layer of its own, which reads from that alone.
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
_WEIGHTS, _ASIDE, _HANDED_ON = "weights", "aside", "handed on"
_End = tuple[str, str, bool]
"""By which module a storage is read, for what, and whether that is no part of the blocks nor after them."""
_COLLECTED: _End = ("", _WEIGHTS, False)
"""What becomes of a storage that is a parameter's gradient."""
ASIDE = "aside"
"""The name of what is set aside of a layer, within it."""
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
        moment: its number among all operators.
        collects: whether autograd adds up a parameter's gradient with it.
    """

    func: Any
    layer: int
    module: str
    inputs: list[Storage]
    outputs: list[tuple[Storage, int]]
    products: list[Any]
    cost: Cost
    moment: int
    collects: bool = False


def module_of(name: str) -> str:
    """The module whose weights a module computes with: parametrizations belong to their parent."""
    return name.partition(".parametrizations.")[0]


def divide(
    operations: Sequence[Operation],
    layers: Sequence[Layer],
    gradients: Collection[int],
    savers: dict[int, tuple[Storage, list[int]]],
    before: Sequence[bool],
) -> dict[int, Layer]:
    """Fill in what layers do, and keep, for the gradients of their weights.

    Args:
        operations: of the backward pass, in order.
        layers: of the step.
        gradients: identities of the storages that hold gradients of parameters.
        savers: by identity, the storages that are kept, and the layers that keep each, the first first.
        before: whether each layer is neither in a block nor comes after one.

    Returns:
        By layer, what was set aside of it, and taken from it; its ``moments`` are those of its operators.
    """
    becomes: dict[int, list[_End]] = defaultdict(list)
    read_for: dict[int, set[str]] = defaultdict(set)
    found_aside: dict[int, Layer] = {}
    for op in reversed(operations):
        weights: list[bool] = []
        passed: list[_End] = []
        for storage, _ in op.outputs:
            found = becomes.pop(id(storage), [])
            if op.collects or id(storage) in gradients:
                found = [*found, _COLLECTED]
            passed += found
            weights.append(bool(found) and all(_works_for(end, op) == _WEIGHTS for end in found))
        kinds = {_works_for(end, op) for end in passed} or {_HANDED_ON}
        kind = next(k for k in (_HANDED_ON, _ASIDE, _WEIGHTS) if k in kinds or k == _WEIGHTS)
        if kind == _ASIDE and (before[op.layer] or layers[op.layer].leaf):
            kind = _HANDED_ON
        if kind == _ASIDE:
            _set_aside(op, layers[op.layer], found_aside.setdefault(op.layer, _beside(layers[op.layer])))
        else:
            _charge(op, layers[op.layer], weights)
        for storage in op.inputs:
            read_for[id(storage)].add(kind)
            here = (op.module, kind, before[op.layer])
            becomes[id(storage)] += passed if op.func in _SUMS or op.collects else [here]
    for key, (storage, by) in savers.items():
        kept = layers[by[0]]
        if read_for.get(key) == {_WEIGHTS}:
            kept.weight_saved_bytes += storage.nbytes
            for other in by[1:]:
                if other != by[0]:
                    layers[other].shares = by[0]
        elif read_for.get(key) == {_ASIDE} and len(set(by)) == 1 and by[0] in found_aside:
            kept.saved_bytes -= storage.nbytes
            found_aside[by[0]].saved_bytes += storage.nbytes
    return found_aside


def _works_for(end: _End, op: Operation) -> str:
    """For what an operator works, one of whose results ends so."""
    module, what, before = end
    if end == _COLLECTED or (module == op.module and what == _WEIGHTS):
        return _WEIGHTS
    return _ASIDE if (what == _ASIDE if module == op.module else before) else _HANDED_ON


def _beside(layer: Layer) -> Layer:
    """An empty layer for what is set aside of another."""
    name = f"{layer.module}.{ASIDE}" if layer.module else ASIDE
    return Layer(name, layer.module_class, layer.start_sequence, leaf=True, arithmetic=layer.arithmetic)


def _set_aside(op: Operation, layer: Layer, aside: Layer) -> None:
    """Take an operator from a layer."""
    moved = "operand_bytes" if op.cost.arithmetic else "stream_bytes"
    for name, amount in (
        ("flops", op.cost.flops),
        ("launches", op.cost.launches),
        (moved, op.cost.moved_bytes),
    ):
        metric = f"backward_{name}"
        setattr(layer, metric, getattr(layer, metric) - amount)
        setattr(aside, metric, getattr(aside, metric) + amount)
    aside.moments.append(op.moment)


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
