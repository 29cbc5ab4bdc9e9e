"""FLOPs of single operators, counted from shapes: 1 multiply-add = 2 FLOP, biases not counted.

Our own formulas where ``torch.utils.flop_counter`` is wrong: it takes a grouped convolution's
backward for an ungrouped one. Elementwise work is not counted as FLOPs; its price is memory traffic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch

aten = torch.ops.aten

CONV, GROUPED_CONV, MATMUL, ATTENTION = "conv", "grouped_conv", "matmul", "attention"


Product = tuple[int, ...]
"""Lengths of which an operator multiplies and adds every combination once."""


def count(products: Sequence[Product]) -> int:
    """The FLOPs of products."""
    return 2 * sum(map(prod, products))


def conv(batch: int, weight: Sequence[int], frames_out: Sequence[int]) -> Product:
    """One pass of a convolution: forward, gradient of the input, or gradient of the weight.

    Each of the three multiplies every output frame with every tap once, so all cost the same.

    Args:
        batch: sentences.
        weight: (channels out, channels in / groups, taps ...).
        frames_out: length of each spatial axis of the output.
    """
    return (batch, *frames_out, *weight)


def attention(query: Sequence[int], key: Sequence[int], value: Sequence[int]) -> list[Product]:
    """Fused attention forward: scores and weighted sum.

    Args:
        query: (batch, heads, frames, width); ``key`` and ``value`` likewise.
    """
    return [(*query, key[-2]), (*query[:-1], key[-2], value[-1])]


def attention_backward(query: Sequence[int], key: Sequence[int], value: Sequence[int]) -> list[Product]:
    """Fused attention backward: scores once more, then two gradients for each product (5 products).

    The recomputation is what a fused kernel does instead of storing the n x n map (Dao et al.,
    FlashAttention, 2022, algorithm 4).
    """
    scores, mixed = attention(query, key, value)
    return [scores] * 3 + [mixed] * 2


Products = tuple[str, list[Product]]


def _conv_op(args: Sequence[Any], out: Any) -> Products:
    kind = GROUPED_CONV if args[8] > 1 else CONV
    return kind, [conv(args[0].shape[0], args[1].shape, out.shape[2:])]


def _conv_backward_op(args: Sequence[Any], out: Any) -> Products:
    grad, _, weight, groups, mask = args[0], args[1], args[2], args[9], args[10]
    kind = GROUPED_CONV if groups > 1 else CONV
    return kind, [conv(grad.shape[0], weight.shape, grad.shape[2:])] * (int(mask[0]) + int(mask[1]))


def _matmul(kind: str, left: int) -> Callable[[Sequence[Any], Any], Products]:
    """A product of the arguments at ``left`` and after it, once or for each of a batch."""
    return lambda args, out: (kind, [(*args[left].shape, args[left + 1].shape[-1])])


def _fused(args: Sequence[Any], out: Any) -> Products:
    return ATTENTION, attention(args[0].shape, args[1].shape, args[2].shape)


def _fused_backward(args: Sequence[Any], out: Any) -> Products:
    return ATTENTION, attention_backward(args[1].shape, args[2].shape, args[3].shape)


FORMULAS: dict[Any, Callable[[Sequence[Any], Any], Products]] = {
    aten.convolution.default: _conv_op,
    aten.convolution_backward.default: _conv_backward_op,
    aten.mm.default: _matmul(MATMUL, 0),
    aten.addmm.default: _matmul(MATMUL, 1),
    aten.bmm.default: _matmul(ATTENTION, 0),
    aten.baddbmm.default: _matmul(ATTENTION, 1),
    aten._scaled_dot_product_flash_attention_for_cpu.default: _fused,
    aten._scaled_dot_product_flash_attention_for_cpu_backward.default: _fused_backward,
    aten._scaled_dot_product_flash_attention.default: _fused,
    aten._scaled_dot_product_flash_attention_backward.default: _fused_backward,
    aten._scaled_dot_product_efficient_attention.default: _fused,
    aten._scaled_dot_product_efficient_attention_backward.default: _fused_backward,
}
"""Operators that do arithmetic worth counting: operator -> (arguments, output) -> (kind, products)."""
