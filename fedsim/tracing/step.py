"""One training step of a subject on fake tensors: forward, loss, backward, and the autocast around it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any

import torch

from fedsim.tasks.structure.blocks import blocks
from fedsim.tracing import cuda, repeats
from fedsim.tracing.fake import build, quick
from fedsim.tracing.recorder import Layer, Recorder, Watch
from fedsim.tracing.subject import Subject, subject_of

BACKENDS = ("cpu", "cuda")
ATTENTIONS = ("eager", "sdpa")
PRECISIONS = ("fp32", "mixed")


@dataclass(frozen=True)
class Variant:
    """What decides which operators run: part of a trace's key."""

    backend: str
    attention: str
    precision: str

    def __str__(self) -> str:
        return f"{self.backend}/{self.attention}/{self.precision}"


VARIANTS = tuple(Variant(b, a, p) for b in BACKENDS for a in ATTENTIONS for p in PRECISIONS)


class Step:
    """A subject on fake tensors that can be traced at any batch and size.

    Args:
        thing: a task, a module, a transformers configuration, or a subject.
        variant: backend, attention and precision.
        short: with few of the layers that are alike (see repeats.py).
        prepare: called with the finished model, for example to switch on checkpointing.
    """

    def __init__(
        self,
        thing: Any,
        variant: Variant,
        short: bool = False,
        prepare: Callable[[Any], None] | None = None,
    ):
        self.subject: Subject = thing if hasattr(thing, "inputs") else subject_of(thing)
        self.variant = variant
        self.mode, self.model = build(lambda: self.subject.build(variant.attention))
        self.stacks = repeats.shorten(self.model) if short else {}
        self.blocks = blocks(self.model)
        if prepare is not None:
            prepare(self.model)
        self._quick = quick(self.mode)
        self._state = [(m, dict(vars(m)), dict(m._buffers)) for m in self.model.modules()]

    def trace(self, batch: int, *sizes: int, quickly: bool = False) -> list[Layer]:
        """Run one forward and one backward pass; the layers in the order of the forward pass."""
        return self.record(batch, *sizes, quickly=quickly).layers

    def record(self, batch: int, *sizes: int, quickly: bool = False, watch: Watch | None = None) -> Recorder:
        """As :meth:`trace`, giving the finished recorder; ``watch`` is told of every operator.

        Where examples have no size, one that is given is left unused. Whatever a model keeps from a step
        for the next, such as a table of positions, it has to make again.
        """
        for module, attributes, buffers in self._state:
            vars(module).clear()
            vars(module).update(attributes)
            module._buffers.clear()
            module._buffers.update(buffers)
        run = self._quick if quickly else None
        self.model.zero_grad(set_to_none=True)
        with self.mode, contextlib.ExitStack() as stack:
            inputs = self.subject.inputs(batch, *sizes[: len(self.subject.axes)])
            recorder = Recorder(self.model, list(_tensors(inputs)), run, self.blocks, watch)
            stack.enter_context(recorder)
            if self.variant.backend == "cuda":
                stack.enter_context(cuda.operators())
            with torch.autocast("cpu", torch.float16, enabled=self.variant.precision == "mixed"):
                loss = _loss(self.model(**inputs))
            recorder.start_backward()
            torch.autograd.backward(loss)
            recorder.finish()
        return recorder


def _tensors(inputs: Any) -> Iterator[torch.Tensor]:
    """Every tensor in a batch, which may be nested mappings, sequences and dataclasses of them."""
    if isinstance(inputs, torch.Tensor):
        yield inputs
    elif isinstance(inputs, Mapping):
        for value in inputs.values():
            yield from _tensors(value)
    elif isinstance(inputs, Sequence) and not isinstance(inputs, str):
        for value in inputs:
            yield from _tensors(value)
    elif is_dataclass(inputs):
        yield from _tensors(vars(inputs))


def _loss(out: Any) -> torch.Tensor:
    """The loss alone, so that nothing else of the output outlives the forward pass."""
    loss: torch.Tensor = out if isinstance(out, torch.Tensor) else out.loss
    return loss
