"""What single operators cost: memory traffic, launches, and FLOPs where there is arithmetic.

Bytes moved are the elements that an operator reads (an expanded axis once) and writes; a gather
reads as much as it writes. Views, metadata and bare allocations move nothing and launch nothing.

Random choices of the batch that decide shapes are fixed at their largest: a boolean index selects
every element.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from fedsim.tracing import flops

aten = torch.ops.aten

_NEITHER_READ_NOR_WRITTEN = {
    aten.empty.memory_format,
    aten.empty_like.default,
    aten.empty_strided.default,
    aten.new_empty.default,
    aten.new_empty_strided.default,
    aten.detach.default,
    aten.detach_.default,
    aten.alias.default,
    aten.lift_fresh.default,
    aten._unsafe_view.default,
    aten._reshape_alias.default,
    aten.set_.source_Storage,
    aten._local_scalar_dense.default,
}
_GATHERS = {
    aten.index.Tensor,
    aten.index_select.default,
    aten.gather.default,
    aten.embedding.default,
    aten.masked_select.default,
    aten.select_backward.default,
    aten.slice_backward.default,
}
_IN_PLACE_SCATTERS = {aten.index_put_.default, aten._index_put_impl_.default}
_NORMS_BACKWARD = {aten.native_layer_norm_backward.default, aten.native_group_norm_backward.default}
"""Operators that start a kernel for the input's gradient and one for both parameters'."""


@dataclass(frozen=True)
class Cost:
    """What one operator costs: its arithmetic (None if it only moves memory) and its counts."""

    arithmetic: str | None
    backward: bool
    flops: int
    moved_bytes: int
    launches: int


def works(func: Any) -> bool:
    """Whether an operator reads or writes elements at all."""
    return not (func in _NEITHER_READ_NOR_WRITTEN or func.is_view)


def arithmetic_of(func: Any, args: Any, out: Any) -> tuple[str | None, list[flops.Product]]:
    """The kind of an operator's arithmetic and its products; None and none if it only moves memory."""
    formula = flops.FORMULAS.get(func)
    return formula(args, out) if formula else (None, [])


def moved_bytes(func: Any, inputs: list[torch.Tensor], outputs: list[torch.Tensor]) -> int:
    """Bytes that an operator reads and writes."""
    if func in _GATHERS:
        return 2 * sum(map(_read_bytes, outputs)) + sum(_read_bytes(t) for t in inputs[1:])
    if func in _IN_PLACE_SCATTERS:
        return sum(2 * _read_bytes(t) for t in inputs[1:])
    each = {id(t): t for t in inputs}.values()
    return sum(map(_read_bytes, each)) + sum(map(_read_bytes, outputs))


def launches_of(func: Any, args: Any) -> int:
    """Kernels that an operator starts."""
    if func is aten.convolution_backward.default:
        return sum(map(bool, args[10]))
    if func in _NORMS_BACKWARD:
        return int(args[-1][0]) + int(any(args[-1][1:]))
    return 1


def tensors_of(values: Any) -> list[torch.Tensor]:
    """The tensors in nested arguments or results."""
    return [t for t in tree_leaves(values) if isinstance(t, torch.Tensor)]


def _read_bytes(tensor: torch.Tensor) -> int:
    count = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        if stride != 0:
            count *= size
        elif size == 0:
            return 0
    return count * tensor.element_size()


def _select_everything(args: Any) -> Any:
    """The result of indexing, where a boolean index selects every element; None without one."""
    mask = args[1][0] if args[1] else None
    if mask is None or mask.dtype is not torch.bool:
        return None
    return args[0].new_empty((mask.numel(), *args[0].shape[mask.dim() :]))


def _ctc_loss(args: Any) -> Any:
    """Losses, and the table of forward probabilities over blanks and characters."""
    frames, batch = args[0].shape[:2]
    return args[0].new_empty(batch), args[0].new_empty(batch, frames, 2 * max(args[3]) + 1)


_SHAPED_HERE: dict[Any, Callable[[Any], Any]] = {
    aten.index.Tensor: _select_everything,
    aten.masked_select.default: lambda args: args[0].new_empty((args[1].numel(),)),
    aten._ctc_loss.default: _ctc_loss,
    aten._ctc_loss_backward.default: lambda args: torch.empty_like(args[1]),
}
"""Operators whose result has a shape that fake tensors cannot know: operator -> arguments -> result."""


def result(func: Any, args: Any) -> Any:
    """The result of an operator whose shape depends on values, at its largest; None for others."""
    shape = _SHAPED_HERE.get(func)
    return shape(args) if shape else None
