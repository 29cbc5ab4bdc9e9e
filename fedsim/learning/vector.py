"""The model as the federation sees it: one flat float32 vector of what travels.

What travels are the parameters that train, end to end in the order of ``named_parameters``, then the
buffers of floating point (such as batch norm's running statistics) of modules in which something trains,
which are averaged like weights.
Parameters that do not train need not travel: every client has them from the beginning. Buffers of whole
numbers (such as batch norm's count of batches) do not travel, since a mean of counts is no count: every
client begins with those of the untrained model.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray


def travelling(model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors that travel, by name, in order."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            yield name, parameter
    saved = model.state_dict(keep_vars=True)
    for name, buffer in model.named_buffers():
        if name in saved and buffer.is_floating_point() and _trains_around(model, name):
            yield name, buffer


def _trains_around(model: torch.nn.Module, name: str) -> bool:
    """Whether anything trains in the innermost module around a buffer that has parameters."""
    while name:
        name = name.rpartition(".")[0]
        parameters = list(model.get_submodule(name).parameters())
        if parameters:
            return any(parameter.requires_grad for parameter in parameters)
    return False


def trained(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    """The parameters that train: the first of what travels."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def size(model: torch.nn.Module) -> int:
    """How many numbers travel."""
    return sum(tensor.numel() for _, tensor in travelling(model))


def flatten(model: torch.nn.Module, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """What travels end to end, float32[size]; written into ``out`` if it is given."""
    vector = np.empty(size(model), np.float32) if out is None else out
    start = 0
    for _, tensor in travelling(model):
        stop = start + tensor.numel()
        vector[start:stop] = tensor.detach().reshape(-1).float().cpu().numpy()
        start = stop
    return vector


def load(model: torch.nn.Module, vector: NDArray[np.float32]) -> None:
    """Set what travels from a flat vector, float32[size]."""
    start = 0
    with torch.no_grad():
        for _, tensor in travelling(model):
            stop = start + tensor.numel()
            values = torch.from_numpy(np.array(vector[start:stop], dtype=np.float32))
            tensor.copy_(values.view(tensor.shape))
            start = stop
