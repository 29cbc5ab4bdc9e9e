"""Runs single operators on real memory, at the shapes of a training step.

Arguments are views into one large pool of random numbers. The place moves on with every argument,
so what one operator left in the caches is of no use to the next, as in a real step. What an operator
overwrites is a copy. Results are allocated and released as in a step, so page faults count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from fedsim.measure.operators import Operator, TensorSpec, specs

_ALIGNMENT = 16
"""Elements between the places of two arguments: a multiple of it, so every view is aligned."""

_POOL = 64 * 2**20
"""Elements: 256 MiB in fp32, larger than the caches of any processor that trains."""

_INDEXING = (torch.ops.aten.index.Tensor, torch.ops.aten.index_put.default, torch.ops.aten.index_put_.default)

_SOFTMAX = torch.ops.aten._softmax.default
_SOFTMAX_BACKWARD = torch.ops.aten._softmax_backward_data.default


class Replayer:
    """Makes calls out of operators.

    Args:
        device: ``cpu``, ``cuda`` or ``mps``.
    """

    def __init__(self, device: str):
        self.device = torch.device(device)
        self._generator = torch.Generator(self.device).manual_seed(1)
        self._pools: dict[torch.dtype, torch.Tensor] = {}
        self._place = 0
        self._replacing: Mapping[torch.dtype, torch.dtype] = {}

    def call(
        self, operator: Operator, replacing: Mapping[torch.dtype, torch.dtype] | None = None
    ) -> Callable[[], object]:
        """A call of the operator, its arguments made now.

        Args:
            operator: what to call.
            replacing: types of numbers to put in place of others.
        """
        self._replacing = replacing or {}
        if torch.float16 in self._replacing:
            operator = _apart(operator)
        written = {
            argument.name
            for argument in operator.function._schema.arguments
            if argument.alias_info is not None and argument.alias_info.is_write
        }
        names = [argument.name for argument in operator.function._schema.arguments]
        args = [self._value(a, n in written) for n, a in zip(names, operator.args, strict=False)]
        if operator.function in _INDEXING:
            rows = next(specs(operator.args)).shape
            args[1] = [self._index(spec, n) for spec, n in zip(operator.args[1], rows, strict=False)]
        kwargs = {k: self._value(v, k in written) for k, v in operator.kwargs}
        function = operator.function
        return lambda: function(*args, **kwargs)

    def _value(self, value: Any, written: bool) -> Any:
        if isinstance(value, TensorSpec):
            return self._tensor(value, written)
        if isinstance(value, tuple):
            return [self._value(v, written) for v in value]
        if isinstance(value, torch.dtype):
            return self._replacing.get(value, value)
        return self.device if isinstance(value, torch.device) else value

    def _index(self, spec: TensorSpec | None, rows: int) -> torch.Tensor | None:
        """What to select: random rows, or a random half by a mask."""
        if spec is None or spec.dtype is torch.bool:
            return None if spec is None else self._tensor(spec, False)
        return torch.randint(0, rows, spec.shape, generator=self._generator, device=self.device)

    def _tensor(self, spec: TensorSpec, written: bool) -> torch.Tensor:
        if spec.dtype is torch.bool:
            random = torch.rand(spec.elements, generator=self._generator, device=self.device)
            return (random < 0.5).as_strided(spec.shape, spec.stride)
        if not spec.dtype.is_floating_point:
            return torch.ones(spec.shape, dtype=spec.dtype, device=self.device)
        pool = self._pool(self._replacing.get(spec.dtype, spec.dtype), spec.elements)
        if self._place + spec.elements > pool.numel():
            self._place = 0
        view = pool.as_strided(spec.shape, spec.stride, self._place)
        self._place += -(-spec.elements // _ALIGNMENT) * _ALIGNMENT
        return view.clone() if written else view

    def _pool(self, dtype: torch.dtype, elements: int) -> torch.Tensor:
        """Random numbers of a type, at least so many."""
        if dtype not in self._pools or self._pools[dtype].numel() < elements:
            count = max(_POOL, elements)
            random = torch.randn(count, generator=self._generator, device=self.device)
            self._pools[dtype] = random.to(dtype)
        return self._pools[dtype]


def _apart(operator: Operator) -> Operator:
    """A softmax that also turns float16 into float32, as one of float32 alone: no other type is fused so."""
    args = operator.args
    if operator.function is _SOFTMAX and args[2]:
        args = (replace(args[0], dtype=torch.float32), args[1], False)
    elif operator.function is _SOFTMAX_BACKWARD and args[3] is torch.float16:
        args = (*args[:3], args[0].dtype)
    return replace(operator, args=args)
