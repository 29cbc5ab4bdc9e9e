"""Any module of torch as it is traced: with a function that makes its batches and one that gives its loss."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from fedsim.tasks.base import Size

Sizes = str | Sequence[str] | Mapping[str, int]
"""How people say which sizes examples have: a name, names, or names with a usual size of each."""


def usual_sizes(sizes: Sizes) -> dict[str, int]:
    """Names of sizes, each with one at which a model runs: 128 where nobody says."""
    if isinstance(sizes, Mapping):
        return dict(sizes)
    return dict.fromkeys([sizes] if isinstance(sizes, str) else sizes, Size.usual)


@dataclass(frozen=True, eq=False)
class Module:
    """A module of somebody's own.

    Attributes:
        name: what it is called.
        model: the module, or a function that builds it.
        make_batch: ``make_batch(n)`` gives a batch of n examples, ``make_batch(n, size)`` where they have a
            size (or several); whatever is in it, it need not have numbers that mean anything.
        loss_of: ``loss_of(model, batch)`` gives the loss, a scalar tensor.
        of_sizes: by the name of each size that examples have, such as ``tokens``, one at which the model
            runs; tracing measures at it and below. Nothing if all examples are alike.
    """

    name: str
    model: nn.Module | Callable[[], nn.Module]
    make_batch: Callable[..., Any]
    loss_of: Callable[[Any, Any], torch.Tensor]
    of_sizes: Mapping[str, int] = field(default_factory=dict)

    @property
    def sizes(self) -> tuple[Size, ...]:
        """Its axes."""
        return tuple(Size(name, name, usual=usual) for name, usual in self.of_sizes.items())

    def build(self) -> nn.Module:
        """The module without numbers: under a fake tensor mode, nothing is allocated."""
        if not isinstance(self.model, nn.Module):
            return self.model()
        tensors = [*self.model.parameters(), *self.model.buffers()]
        return copy.deepcopy(self.model, {id(tensor): _empty(tensor) for tensor in tensors})

    def fake_batch(self, batch: int, sizes: Mapping[str, int]) -> Any:
        """A batch, at a size if it has one."""
        return self.make_batch(batch, *sizes.values())

    def traced_loss(self, model: Any, batch: Any) -> torch.Tensor:
        """The loss of a batch."""
        return self.loss_of(model, batch)


def _empty(tensor: torch.Tensor) -> torch.Tensor:
    made = torch.empty(tensor.shape, dtype=tensor.dtype)
    return nn.Parameter(made, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else made
