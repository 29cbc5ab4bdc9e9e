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


def conv(batch: int, weight: Sequence[int], frames_out: Sequence[int]) -> int:
    """One pass of a convolution: forward, gradient of the input, or gradient of the weight.

    Each of the three multiplies every output frame with every tap once, so all cost the same.

    Args:
        batch: sentences.
        weight: (channels out, channels in / groups, taps ...).
        frames_out: length of each spatial axis of the output.
    """
    return 2 * batch * prod(frames_out) * prod(weight)


def matmul(rows: int, inner: int, columns: int, batch: int = 1) -> int:
    """A product (rows x inner) by (inner x columns), ``batch`` times."""
    return 2 * batch * rows * inner * columns


def attention(query: Sequence[int], key: Sequence[int], value: Sequence[int]) -> int:
    """Fused attention forward: scores and weighted sum.

    Args:
        query: (batch, heads, frames, width); ``key`` and ``value`` likewise.
    """
    b, h, n, d = query
    return matmul(n, d, key[-2], b * h) + matmul(n, key[-2], value[-1], b * h)


def attention_backward(query: Sequence[int], key: Sequence[int], value: Sequence[int]) -> int:
    """Fused attention backward: scores once more, then two gradients for each product (5 products).

    The recomputation is what a fused kernel does instead of storing the n x n map (Dao et al.,
    FlashAttention, 2022, algorithm 4).
    """
    b, h, n, d = query
    scores = matmul(n, d, key[-2], b * h)
    return 3 * scores + 2 * matmul(n, key[-2], value[-1], b * h)


def _conv_op(args: Sequence[Any], out: Any) -> tuple[str, int]:
    kind = GROUPED_CONV if args[8] > 1 else CONV
    return kind, conv(args[0].shape[0], args[1].shape, out.shape[2:])


def _conv_backward_op(args: Sequence[Any], out: Any) -> tuple[str, int]:
    grad, _, weight, groups, mask = args[0], args[1], args[2], args[9], args[10]
    kind = GROUPED_CONV if groups > 1 else CONV
    return kind, (int(mask[0]) + int(mask[1])) * conv(grad.shape[0], weight.shape, grad.shape[2:])


def _mm(args: Sequence[Any], out: Any) -> tuple[str, int]:
    rows, inner = args[0].shape
    return MATMUL, matmul(rows, inner, args[1].shape[1])


def _addmm(args: Sequence[Any], out: Any) -> tuple[str, int]:
    rows, inner = args[1].shape
    return MATMUL, matmul(rows, inner, args[2].shape[1])


def _bmm(args: Sequence[Any], out: Any) -> tuple[str, int]:
    b, rows, inner = args[0].shape
    return ATTENTION, matmul(rows, inner, args[1].shape[2], b)


def _baddbmm(args: Sequence[Any], out: Any) -> tuple[str, int]:
    b, rows, inner = args[1].shape
    return ATTENTION, matmul(rows, inner, args[2].shape[2], b)


def _fused(args: Sequence[Any], out: Any) -> tuple[str, int]:
    return ATTENTION, attention(args[0].shape, args[1].shape, args[2].shape)


def _fused_backward(args: Sequence[Any], out: Any) -> tuple[str, int]:
    return ATTENTION, attention_backward(args[1].shape, args[2].shape, args[3].shape)


FORMULAS: dict[Any, Callable[[Sequence[Any], Any], tuple[str, int]]] = {
    aten.convolution.default: _conv_op,
    aten.convolution_backward.default: _conv_backward_op,
    aten.mm.default: _mm,
    aten.addmm.default: _addmm,
    aten.bmm.default: _bmm,
    aten.baddbmm.default: _baddbmm,
    aten._scaled_dot_product_flash_attention_for_cpu.default: _fused,
    aten._scaled_dot_product_flash_attention_for_cpu_backward.default: _fused_backward,
    aten._scaled_dot_product_flash_attention.default: _fused,
    aten._scaled_dot_product_flash_attention_backward.default: _fused_backward,
    aten._scaled_dot_product_efficient_attention.default: _fused,
    aten._scaled_dot_product_efficient_attention_backward.default: _fused_backward,
}
"""Operators that do arithmetic worth counting: operator -> (arguments, output) -> (kind, FLOPs)."""
