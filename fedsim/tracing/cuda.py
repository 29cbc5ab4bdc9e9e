"""What CUDA runs where a CPU runs something else, on fake CPU tensors.

A CPU build of PyTorch cannot differentiate fake tensors that claim to live on ``cuda`` (autograd
asks for a device guard that is not linked in, and aborts). So the CUDA variant of a trace is the
CPU one with CUDA's own operators put in at the places where PyTorch chooses by device:

- dropout is ``native_dropout``, which keeps a boolean mask (a CPU keeps a float one);
- fused attention is the memory-efficient kernel in fp32 and FlashAttention in 16 bits, both of
  which apply dropout inside (a CPU's fused kernel cannot, and falls back to stored maps);
- autocast runs layer norm, group norm, softmax and cosine similarity in fp32, softmax with its
  conversion fused (a CPU's autocast leaves them in 16 bits).

Everything else (saved tensors, autograd formulas, shapes) is the same code on both. Source: aten's
Dropout.cpp, autocast_mode.h and sdp_utils.cpp of PyTorch 2.13.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F

_aten = torch.ops.aten
_HALVES = (torch.float16, torch.bfloat16)


def _dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    if not training or p == 0.0:
        return input
    return torch.native_dropout(input, p, True)[0]


def _attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    if torch.is_autocast_enabled("cpu"):
        half = torch.get_autocast_dtype("cpu")
        query, key, value = (t.to(half) for t in (query, key, value))
        attn_mask = attn_mask.to(half) if attn_mask is not None else None
    if query.dtype in _HALVES and attn_mask is None:
        return _aten._scaled_dot_product_flash_attention(
            query, key, value, dropout_p, is_causal, False, scale=scale
        )[0]
    if attn_mask is not None:
        attn_mask = attn_mask.expand(query.shape[0], query.shape[1], query.shape[2], key.shape[2])
    return _aten._scaled_dot_product_efficient_attention(
        query, key, value, attn_mask, True, dropout_p, is_causal, scale=scale
    )[0]


def _softmax(input: Any, dim: int, _stacklevel: int = 3, dtype: Any = None) -> Any:
    if dtype is None and torch.is_autocast_enabled("cpu"):
        dtype = torch.float32
    if dtype is torch.float32 and input.dtype is torch.float16:
        return _aten._softmax(input, dim, True)
    return _aten._softmax(input if dtype is None else input.to(dtype), dim, False)


def _in_fp32(function: Any) -> Any:
    def run(*args: Any, **kwargs: Any) -> Any:
        if torch.is_autocast_enabled("cpu"):
            args = tuple(a.float() if isinstance(a, torch.Tensor) and a.dtype in _HALVES else a for a in args)
        return function(*args, **kwargs)

    return run


@contextlib.contextmanager
def operators() -> Iterator[None]:
    """Within it, PyTorch's functions choose what they choose on CUDA."""
    replaced: list[tuple[Any, str, Any]] = [
        (F, "dropout", _dropout),
        (F, "scaled_dot_product_attention", _attention),
        (F, "softmax", _softmax),
        (torch, "softmax", lambda input, dim, dtype=None: _softmax(input, dim, dtype=dtype)),
        (F, "layer_norm", _in_fp32(F.layer_norm)),
        (F, "group_norm", _in_fp32(F.group_norm)),
        (torch, "cosine_similarity", _in_fp32(torch.cosine_similarity)),
    ]
    before = [(where, name, getattr(where, name)) for where, name, _ in replaced]
    try:
        for where, name, function in replaced:
            setattr(where, name, function)
        yield
    finally:
        for where, name, function in before:
            setattr(where, name, function)
