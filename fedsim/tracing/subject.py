"""What is traced: a task, a module, or a configuration of transformers.

A subject says how its model is built (with the loss, as one module), which sizes its examples have, and
what a batch without numbers holds. What else decides a trace (lengths, repeated layers, blocks) is found by
looking at steps of it.
"""

from __future__ import annotations

import inspect
from typing import Any, Protocol

import torch
from torch import nn

from fedsim.tasks import Ctc, Task, Wav2Vec2
from fedsim.tasks.base import Size
from fedsim.tasks.speech.models import configuration
from fedsim.tasks.speech.task import SpeechTask
from fedsim.tracing.architecture import architecture_of
from fedsim.tracing.module import Module
from fedsim.tracing.objective import Objective, fuses, objective_of, speech
from fedsim.tracing.traceable import Traceable


class Subject(Protocol):
    """What is traced.

    Attributes:
        objective: what the loss is, in words.
        config: what the model is made from, for the trace's file.
        axes: the sizes of its examples.
    """

    objective: str
    config: dict[str, Any]
    axes: tuple[Size, ...]

    def build(self, attention: str) -> nn.Module:
        """The model with its loss: called with a batch it gives the loss."""
        ...

    def inputs(self, batch: int, *sizes: int) -> dict[str, Any]:
        """A batch without numbers, at one of each size."""
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
    """Any task or module of somebody's own."""

    def __init__(self, task: Task | Module | Traceable) -> None:
        self._task = task
        self.axes = task.sizes
        self.objective = task.name
        self.config: dict[str, Any] = {"task": task.name}

    def build(self, attention: str) -> nn.Module:
        build: Any = self._task.build
        chooses = "attention" in inspect.signature(build).parameters
        return _WithLoss(self._task, build(attention) if chooses else build())

    def inputs(self, batch: int, *sizes: int) -> dict[str, Any]:
        names = [size.name for size in self.axes]
        return {"batch": self._task.fake_batch(batch, dict(zip(names, sizes, strict=True)))}


class TraceableSubject(TaskSubject):
    """A configuration of transformers, or something of somebody's own."""

    def __init__(self, thing: Traceable) -> None:
        super().__init__(thing)
        self.objective, self.config = thing.objective, thing.config


class Speech:
    """A speech model of transformers on waveforms.

    Args:
        config: a transformers configuration; it is not changed.
        recognition: width and characters of the layers for CTC, if the model has them and they are
            not those of the study (see ``objective.HEAD_WIDTH``).
    """

    axes = SpeechTask.sizes

    def __init__(self, config: Any, recognition: tuple[int, int] | None = None) -> None:
        self._config = config
        self._objective: Objective = objective_of(config, recognition)
        self.objective = self._objective.name
        content: dict[str, Any] = config.to_diff_dict()
        self.config = {k: v for k, v in content.items() if k not in ("transformers_version", "dtype")}

    def build(self, attention: str) -> nn.Module:
        """Layer drop is off: a trace holds every layer, as the longest step does."""
        config = type(self._config)(**{**self._config.to_dict(), "layerdrop": 0.0})
        config._attn_implementation = attention if fuses(config) else "eager"
        return self._objective.make(config)

    def inputs(self, batch: int, *sizes: int) -> dict[str, Any]:
        return self._objective.inputs(self._config, batch, *sizes)
