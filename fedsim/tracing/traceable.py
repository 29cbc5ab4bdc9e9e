"""What can be traced that is no task: a model, what a batch of it holds, and its loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fedsim.tasks.base import Size


@dataclass(frozen=True, eq=False)
class Traceable:
    """A model with its loss, as it is traced.

    Attributes:
        name: what it is called.
        objective: what the loss is, in words.
        sizes: along which its examples differ; none if all are alike.
        config: what the trace's file says of it.
        make: ``make(attention)`` gives the model, in which attention is ``eager`` or ``sdpa`` if it can be.
        make_batch: ``make_batch(n, sizes)`` gives n examples without numbers.
        loss_of: ``loss_of(model, batch)`` gives the loss, a scalar tensor.
    """

    name: str
    objective: str
    sizes: tuple[Size, ...]
    config: dict[str, Any]
    make: Callable[[str], nn.Module]
    make_batch: Callable[[int, Mapping[str, int]], Any]
    loss_of: Callable[[Any, Any], torch.Tensor]

    def build(self, attention: str = "eager") -> nn.Module:
        """The model; under a fake tensor mode, without numbers."""
        return self.make(attention)

    def fake_batch(self, batch: int, sizes: Mapping[str, int]) -> Any:
        """A batch without numbers, at these sizes."""
        return self.make_batch(batch, sizes)

    def traced_loss(self, model: Any, batch: Any) -> torch.Tensor:
        """The loss of a batch."""
        return self.loss_of(model, batch)
