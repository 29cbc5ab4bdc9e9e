"""Models and operators without memory: weights that have a shape and no numbers.

``build`` makes a transformers model under a :class:`FakeTensorMode`; nothing is allocated and
nothing initialised. ``quick`` runs an operator as that mode does at its core, without the
bookkeeping it needs for compiling (caches, symbolic shapes): three times faster. Traces are fitted
with it and verified without it. Where the two would disagree (the statistics of a layer norm whose
input is 16-bit), the mode itself is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._subclasses.fake_tensor import (
    FakeTensor,
    FakeTensorMode,
    in_kernel_invocation_manager,
)

_CPU = torch.device("cpu")
_ASK_THE_MODE = {torch.ops.aten.native_layer_norm.default}


def build(make: Callable[[], torch.nn.Module]) -> tuple[FakeTensorMode, torch.nn.Module]:
    """The model that ``make`` builds, on fake tensors and in training mode, with the mode it lives in."""
    from transformers.initialization import no_init_weights

    mode = FakeTensorMode()
    with mode, no_init_weights():
        model = make()
    model.train()
    return mode, model


def quick(mode: FakeTensorMode) -> Callable[[Any, Any, Any], Any]:
    """A function (operator, args, kwargs) -> result for operators on fake CPU tensors of ``mode``."""

    def wrap(out: Any) -> Any:
        if isinstance(out, torch.Tensor) and type(out) is not FakeTensor:
            return FakeTensor(mode, out, _CPU)
        return out

    def run(func: Any, args: Any, kwargs: Any) -> Any:
        flat = (t for arg in args for t in (arg if isinstance(arg, list) else (arg,)))
        tensors = [t for t in flat if isinstance(t, torch.Tensor)]
        unusual = not tensors or any(type(t) is not FakeTensor for t in tensors)
        if unusual or "device" in kwargs or func in _ASK_THE_MODE:
            return func(*args, **kwargs)
        with in_kernel_invocation_manager(mode):
            out = func(*args, **kwargs)
        if isinstance(out, (tuple, list)):
            return type(out)(map(wrap, out))
        return wrap(out)

    return run
