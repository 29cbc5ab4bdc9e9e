"""Models and operators without memory: weights that have a shape and no numbers.

``build`` makes a transformers model under a :class:`FakeTensorMode`; nothing is allocated and
nothing initialised. ``quick`` runs an operator as that mode does at its core, without the
bookkeeping it needs for compiling (caches, symbolic shapes): three times faster. Traces are fitted
with it and verified without it. Where the two would disagree (the statistics of a norm whose
input is 16-bit), the mode itself is asked.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch._subclasses.fake_tensor import (
    FakeTensor,
    FakeTensorMode,
    in_kernel_invocation_manager,
)

logging.getLogger("torch._subclasses.fake_tensor").setLevel(logging.CRITICAL)
"""It logs a traceback before it raises what we say in a sentence."""

_CPU = torch.device("cpu")
_SHARES_ITS_STORAGE = {torch.ops.aten._unsafe_view.default}
"""Operators whose result shares memory with their input though their schema does not say so."""

_POINTWISE = {
    torch.ops.aten.gelu.default,
    torch.ops.aten.gelu_backward.default,
    torch.ops.aten.mul.Tensor,
    torch.ops.aten.mul.Scalar,
    torch.ops.aten.add.Tensor,
    torch.ops.aten.div.Tensor,
    torch.ops.aten._to_copy.default,
}
"""Operators that give, for contiguous tensors of one shape, a contiguous tensor of that shape."""

_NORMS = {
    torch.ops.aten.native_layer_norm.default,
    torch.ops.aten.native_group_norm.default,
    torch.ops.aten.native_batch_norm.default,
    torch.ops.aten._native_batch_norm_legit.default,
    torch.ops.aten.cudnn_batch_norm.default,
}


def build(make: Callable[[], torch.nn.Module]) -> tuple[FakeTensorMode, torch.nn.Module]:
    """The model that ``make`` builds, on fake tensors and in training mode, with the mode it lives in."""
    from transformers.initialization import no_init_weights

    logging.getLogger("transformers").setLevel(logging.ERROR)  # advice that is of no use here
    mode = FakeTensorMode()
    mode.cache_enabled = False  # which gives a slice of a larger storage the second time a smaller one
    with mode, no_init_weights():
        model = make()
    model.train()
    return mode, model


def quick(mode: FakeTensorMode) -> Callable[[Any, Any, Any], Any]:
    """A function (operator, args, kwargs) -> result for operators on fake CPU tensors of ``mode``.

    What an operator gives for inputs of the same shapes is remembered across models, until
    :func:`forget`: transformer layers repeat, and so do the variants of a model.
    """

    def wrap(out: Any) -> Any:
        if isinstance(out, torch.Tensor) and type(out) is not FakeTensor:
            return FakeTensor(mode, out, _CPU)
        return out

    def again(out: Any) -> Any:
        if out is None:
            return None
        shape, stride, dtype = out
        with in_kernel_invocation_manager(mode):
            made = torch.empty_strided(shape, stride, dtype=dtype, device="meta")
        return FakeTensor(mode, made, _CPU)

    def run(func: Any, args: Any, kwargs: Any) -> Any:
        flat = (t for arg in args for t in (arg if isinstance(arg, list) else (arg,)))
        tensors = [t for t in flat if isinstance(t, torch.Tensor)]
        unusual = not tensors or any(type(t) is not FakeTensor for t in tensors)
        if kwargs.get("device") == _CPU:  # where it is already
            kwargs = {k: v for k, v in kwargs.items() if k != "device"}
        if unusual or "device" in kwargs or (func in _NORMS and args[0].dtype.itemsize == 2):
            return func(*args, **kwargs)
        key = None
        if func not in _aliasing:
            _aliasing[func] = func in _SHARES_ITS_STORAGE or any(
                r.alias_info is not None for r in func._schema.returns
            )
        if not _aliasing[func]:
            alike = func in _POINTWISE and _alike(tensors)
            describe = _dtypes if alike else _shapes
            key = (func, describe(args), describe(tuple(kwargs.items())))
            known = _remembered.get(key)
            if known is not None:
                if alike:
                    return again((tensors[0].shape, tensors[0].stride(), known[2]))
                return tuple(map(again, known)) if isinstance(known, list) else again(known)
        with in_kernel_invocation_manager(mode):
            out = func(*args, **kwargs)
        several = isinstance(out, (tuple, list))
        if key is not None and all(o is None or _whole(o) for o in (out if several else (out,))):
            _remembered[key] = list(map(_shape, out)) if several else _shape(out)
        return tuple(map(wrap, out)) if several else wrap(out)

    return run


def forget() -> None:
    """Let go of every remembered shape."""
    _remembered.clear()


_remembered: dict[Any, Any] = {}
_aliasing: dict[Any, bool] = {}


def _shape(tensor: torch.Tensor | None) -> Any:
    return None if tensor is None else (tensor.shape, tensor.stride(), tensor.dtype)


def _whole(out: Any) -> bool:
    """Whether it is a tensor with a storage of just its size, as a tensor made from its shape has."""
    return (
        isinstance(out, torch.Tensor) and out.untyped_storage().nbytes() == out.numel() * out.element_size()
    )


def _alike(tensors: list[torch.Tensor]) -> bool:
    """Whether they are all contiguous and of one shape."""
    shape = tensors[0].shape
    return all(t.shape == shape and t.is_contiguous() for t in tensors)


def _dtypes(values: Any) -> Any:
    return tuple(
        (v.dtype,) if isinstance(v, torch.Tensor) else _dtypes(v) if isinstance(v, tuple) else (type(v), v)
        for v in values
    )


def _shapes(values: Any) -> Any:
    return tuple(
        (v.shape, v.stride(), v.dtype)
        if isinstance(v, torch.Tensor)
        else _shapes(v)
        if isinstance(v, (list, tuple))
        else (type(v), v)
        for v in values
    )
