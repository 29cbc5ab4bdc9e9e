"""What is traced: a task, or a speech model of transformers by its configuration.

A subject says how its model is built (with the loss, as one module), what a batch without numbers
holds, which lengths decide what it costs, and with which polynomials each layer's costs are tried.

A task's model is traced as the task trains it. Speech models of transformers have more structure that
makes a trace quick and exact: frames that follow from the samples by the convolutions' arithmetic, and
transformer layers between the first and the last that cost the same, so few of them are traced.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import nn

from fedsim.errors import FedsimError
from fedsim.pricing.layers import NO_SIZE
from fedsim.pricing.polynomial import Axis, Monomial, lengths
from fedsim.tasks import Ctc, Task, Wav2Vec2
from fedsim.tasks.speech.models import configuration, convolutions
from fedsim.tracing.architecture import architecture_of
from fedsim.tracing.interpolation import monomials, spans
from fedsim.tracing.module import Module
from fedsim.tracing.objective import Objective, fuses, objective_of, speech
from fedsim.tracing.traceable import Traceable

ALIGNMENT = 32
"""Memory-efficient attention on CUDA rounds its log-sum-exp up to 32 frames."""

Basis = tuple[Monomial, ...]


class Subject(Protocol):
    """What is traced.

    Attributes:
        objective: what the loss is, in words.
        config: what the model is made from, for the trace's file.
        depth: how many layers of the model are alike; 1 if it has no stack of them.
        axes: the lengths that decide what it costs.
        last: the axis on which most layers' costs depend.
        quick: whether operators may run without the fake mode's own bookkeeping (see fake.py).
    """

    objective: str
    config: dict[str, Any]
    depth: int
    axes: tuple[Axis, ...]
    last: int
    quick: bool

    def build(self, attention: str, layers: int | None) -> nn.Module:
        """The model with its loss: called with a batch it gives the loss."""
        ...

    def inputs(self, batch: int, size: int) -> dict[str, Any]:
        """A batch without numbers, at a length of the first axis."""
        ...

    def sizes(self) -> list[int]:
        """Lengths of the first axis at which costs are measured; the last checks what the others gave."""
        ...

    def unseen(self, fitted: Sequence[int]) -> tuple[int, int]:
        """Two more, for verifying."""
        ...

    def candidates(self, module: str, batched: bool) -> list[Basis]:
        """The bases that a layer's counts are tried with, simplest first."""
        ...


def subject_of(thing: Any) -> Subject:
    """The subject for a task, a module, or a configuration of transformers."""
    if isinstance(thing, Wav2Vec2):
        return Speech(configuration(thing.model))
    if isinstance(thing, Ctc):
        config = configuration(thing.model)
        return Speech(config, recognition=(thing.head_size, len(thing.vocabulary())))
    if isinstance(thing, Task | Module):
        return TaskSubject(thing)
    if not isinstance(thing, Traceable):
        if speech(thing):
            return Speech(thing)
        thing = architecture_of(thing)
    return TraceableSubject(thing)


class _WithLoss(nn.Module):
    """A task's model with its loss."""

    base_model_prefix = "model"

    def __init__(self, task: Task | Module | Traceable, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._task = task

    def forward(self, batch: Any) -> torch.Tensor:
        """The loss of a batch."""
        loss = self._task.traced_loss(self.model, batch)
        if not isinstance(loss, torch.Tensor) or loss.ndim:
            found = f"a tensor {list(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
            raise TypeError(f"its loss is {found}; give a scalar tensor")
        return loss


class TaskSubject:
    """Any task or module; what its layers cost are polynomials in the batch and at most one size.

    Beside the size there is an axis with the size rounded up, as fused attention on CUDA needs it.
    """

    depth = 1
    last = 0
    quick = False

    def __init__(self, task: Task | Module | Traceable) -> None:
        if len(task.sizes) > 1:
            names = ", ".join(size.name for size in task.sizes)
            raise FedsimError(f"a trace holds one size axis, and the task {task.name!r} has {names}")
        self._task = task
        self._size = task.sizes[0].name if task.sizes else None
        self.objective = task.name
        self.axes: tuple[Axis, ...] = (Axis(self._size or NO_SIZE),)
        if self._size is not None:
            self.axes += (Axis(f"{self._size}_by_{ALIGNMENT}", of=0, multiple=ALIGNMENT),)
        self.config: dict[str, Any] = {"task": task.name}

    def build(self, attention: str, layers: int | None) -> nn.Module:
        return _WithLoss(self._task, self._task.build())

    def inputs(self, batch: int, size: int) -> dict[str, Any]:
        return {"batch": self._task.fake_batch(batch, {self._size: size} if self._size else {})}

    def sizes(self) -> list[int]:
        return [37, 50, 75, 106] if self._size else [1, 1, 1, 1]

    def unseen(self, fitted: Sequence[int]) -> tuple[int, int]:
        return (61, 131) if self._size else (1, 1)

    def candidates(self, module: str, batched: bool) -> list[Basis]:
        powers: list[dict[int, int]] = [{0: 1}, {0: 2}, {0: 1, 1: 1}] if self._size else [{}]
        return [monomials(power, batched) for power in powers]


class TraceableSubject(TaskSubject):
    """A configuration of transformers, or something of somebody's own."""

    def __init__(self, thing: Traceable) -> None:
        super().__init__(thing)
        self._thing = thing
        self.objective, self.config = thing.objective, thing.config

    def build(self, attention: str, layers: int | None) -> nn.Module:
        return _WithLoss(self._thing, self._thing.build(attention))


class Speech:
    """A speech model of transformers on waveforms.

    Args:
        config: a transformers configuration; it is not changed.
        recognition: width and characters of the layers for CTC, if the model has them and they are
            not those of the study (see ``objective.HEAD_WIDTH``).
    """

    quick = True

    def __init__(self, config: Any, recognition: tuple[int, int] | None = None) -> None:
        self._config = config
        self._objective: Objective = objective_of(config, recognition)
        self.objective = self._objective.name
        content: dict[str, Any] = config.to_diff_dict()
        self.config = {k: v for k, v in content.items() if k not in ("transformers_version", "dtype")}
        self.depth = int(config.num_hidden_layers)
        self.axes = axes_of(config)
        self.last = len(self.axes) - 2

    def build(self, attention: str, layers: int | None) -> nn.Module:
        """Layer drop is off: a trace holds every layer, as the longest step does."""
        config = type(self._config)(**{**self._config.to_dict(), "layerdrop": 0.0})
        if layers is not None:
            config.num_hidden_layers = layers
        config._attn_implementation = attention if fuses(config) else "eager"
        return self._objective.make(config)

    def inputs(self, batch: int, size: int) -> dict[str, Any]:
        return self._objective.inputs(self._config, batch, size)

    def sizes(self, count: int = 4) -> list[int]:
        """Waveform lengths at which every basis is determined, even without the last, which checks."""
        last = self.last
        shortest = 1
        while int(lengths(self.axes, shortest)[last]) < 2 * ALIGNMENT - 5:
            shortest += 1 + shortest // 7
        modules = [*(f"conv_layers.{k}" for k in range(last)), "encoder"]
        bases = [basis for module in modules for basis in self.candidates(module, False)]
        for step in range(500):
            spacing = shortest // 2 + 337 + 97 * step
            chosen = [shortest + step * 211 + i * spacing + i * i * (61 + step) for i in range(count)]
            points = [(1, tuple(int(n) for n in lengths(self.axes, s))) for s in chosen]
            if all(spans(points, basis) and spans(points[:-1], basis, spare=0) for basis in bases):
                return chosen
        raise FedsimError("no lengths determine the frame counts of these convolutions")

    def unseen(self, fitted: Sequence[int]) -> tuple[int, int]:
        return fitted[1] + 1234 + (fitted[3] - fitted[1]) // 5, fitted[2] + 77

    def candidates(self, module: str, batched: bool) -> list[Basis]:
        last = self.last
        bases: list[dict[int, int]]
        if "conv_layers." in module:
            k = int(module.split("conv_layers.")[1].split(".")[0]) + 1
            bases = [{k: 1}, {k - 1: 1, k: 1}] + ([{k: 1, k + 1: 1}] if k < last else [])
        else:
            bases = [{last: 1}, {last: 2}, {last: 1, last + 1: 1}, {last - 1: 1, last: 1}]
        return [monomials(axes, batched) for axes in bases]


def axes_of(config: Any) -> tuple[Axis, ...]:
    """Samples, the frames after each convolution, and the last of them rounded up."""
    axes = convolutions(config)
    last = len(axes) - 1
    return (*axes, Axis(f"frames_{last}_by_{ALIGNMENT}", of=last, multiple=ALIGNMENT))
