"""What travels between server and client, as one flat float32 vector.

With a fresh optimizer every round: the parameters. With ``averaged`` optimizer state: the
parameters, then Adam's first moments, then its second moments, then its step count; the server
averages them all by the rule's weights, so a client goes on where the federation stands (as
momentum is averaged in Yu, Jin and Yang, ICML 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fedsim.learning import vector as vectors
from fedsim.learning.options import Learning

BETAS = (0.9, 0.98)
EPSILON = 1e-6


def length(parameters: int, learning: Learning) -> int:
    """How long the vector is for a model of so many parameters."""
    return 3 * parameters + 1 if learning.optimizer_state == "averaged" else parameters


def make_optimizer(net: torch.nn.Module, learning: Learning, rate: float) -> torch.optim.Optimizer:
    """The local optimizer of all that trains, fresh."""
    return optimizer_of(vectors.trained(net), learning, rate)


def optimizer_of(
    parameters: Sequence[torch.nn.Parameter], learning: Learning, rate: float
) -> torch.optim.Optimizer:
    """A local optimizer, fresh. Adam's betas and epsilon are those of wav2vec 2.0's pretraining."""
    if learning.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=rate)
    kind = torch.optim.AdamW if learning.optimizer == "adamw" else torch.optim.Adam
    decay = learning.weight_decay if learning.optimizer == "adamw" else 0.0
    return kind(parameters, lr=rate, betas=BETAS, eps=EPSILON, weight_decay=decay, fused=True)


def put(
    vector: NDArray[np.float32], net: torch.nn.Module, optimizer: torch.optim.Optimizer, learning: Learning
) -> None:
    """Set parameters, and the optimizer's state if it travels, from a vector."""
    count = vectors.size(net)
    vectors.load(net, vector[:count])
    if learning.optimizer_state != "averaged":
        return
    steps, start = max(float(vector[-1]), 0.0), count
    for parameter in vectors.trained(net):
        stop = start + parameter.numel()
        first, second = vector[start:stop], np.maximum(vector[start + count : stop + count], 0.0)
        optimizer.state[parameter] = {
            "step": torch.tensor(steps, device=parameter.device),
            "exp_avg": _like(parameter, first),
            "exp_avg_sq": _like(parameter, second),
        }
        start = stop


def take(
    net: torch.nn.Module, optimizer: torch.optim.Optimizer, learning: Learning, out: NDArray[np.float32]
) -> None:
    """Write parameters, and the optimizer's state if it travels, into a vector."""
    count = vectors.size(net)
    vectors.flatten(net, out[:count])
    if learning.optimizer_state != "averaged":
        return
    start = count
    for parameter in vectors.trained(net):
        stop = start + parameter.numel()
        state: dict[str, Any] = optimizer.state[parameter]
        if state:
            out[start:stop] = state["exp_avg"].reshape(-1).cpu().numpy()
            out[start + count : stop + count] = state["exp_avg_sq"].reshape(-1).cpu().numpy()
            out[-1] = float(state["step"])
        else:
            out[start:stop], out[start + count : stop + count] = 0.0, 0.0
        start = stop
    out[start : 2 * count], out[start + count : 3 * count] = 0.0, 0.0  # buffers have no moments


def _like(parameter: torch.Tensor, values: NDArray[np.float32]) -> torch.Tensor:
    copied = torch.from_numpy(np.array(values, np.float32)).view(parameter.shape)
    return copied.to(parameter.device)
