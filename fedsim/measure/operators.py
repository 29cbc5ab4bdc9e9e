"""The operators of a training step and the shapes that it gives them, as things to be timed.

They are read off a recorded step on fake tensors (``fedsim.tracing``), so what is timed is what the
layer trace counts: the same operators, FLOPs, bytes and launches, up to the last one. Transformer
layers repeat, so a step of a thousand operators has about two hundred different ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from fedsim.tracing.operators import Cost
from fedsim.tracing.step import Step

STREAM = "stream"
"""The kind of operators that only move memory; the others are named after their arithmetic."""


@dataclass(frozen=True)
class TensorSpec:
    """A tensor without its numbers."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    def __str__(self) -> str:
        name = str(self.dtype).removeprefix("torch.")
        return f"{name}[{'x'.join(map(str, self.shape))}]"

    @property
    def elements(self) -> int:
        """Numbers in the memory that it spans."""
        if 0 in self.shape:
            return 0
        return 1 + sum((n - 1) * s for n, s in zip(self.shape, self.stride, strict=True))


@dataclass(frozen=True)
class Operator:
    """One operator with its arguments' shapes, what it costs once, and how often a step runs it."""

    function: Any
    args: tuple[Any, ...]
    kwargs: tuple[tuple[str, Any], ...]
    cost: Cost
    count: int

    @property
    def name(self) -> str:
        """As the dispatcher calls it: ``aten.addmm.default``."""
        return str(self.function)

    @property
    def kind(self) -> str:
        """conv, grouped_conv, matmul, attention or stream."""
        return self.cost.arithmetic or STREAM

    @property
    def phase(self) -> str:
        """forward or backward."""
        return "backward" if self.cost.backward else "forward"

    @property
    def shapes(self) -> str:
        """The tensors that it is given, such as ``float32[2x512x10399] float32[512x512x3]``."""
        return " ".join(str(spec) for spec in specs((self.args, self.kwargs)))


def operators(step: Step, batch: int, samples: int) -> list[Operator]:
    """The different operators of one step, in the order of their first run.

    Args:
        step: a model on fake tensors, with the variant that says which operators run.
        batch: sentences.
        samples: of each waveform, at 16 kHz.
    """
    counts: dict[tuple[Any, ...], int] = {}

    def watch(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], cost: Cost) -> None:
        key = (function, _frozen(args), tuple((k, _frozen(v)) for k, v in kwargs.items()), cost)
        counts[key] = counts.get(key, 0) + 1

    step.record(batch, samples, quickly=True, watch=watch)
    return [
        Operator(function, args, kwargs, cost, count)
        for (function, args, kwargs, cost), count in counts.items()
    ]


def specs(tree: Any) -> Iterator[TensorSpec]:
    """Every tensor in a tree of arguments."""
    if isinstance(tree, TensorSpec):
        yield tree
    elif isinstance(tree, tuple):
        for branch in tree:
            yield from specs(branch)


def _frozen(value: Any) -> Any:
    """Arguments with specs for tensors and tuples for lists: hashable."""
    if isinstance(value, torch.Tensor):
        return TensorSpec(tuple(value.shape), tuple(value.stride()), value.dtype)
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(v) for v in value)
    return value
