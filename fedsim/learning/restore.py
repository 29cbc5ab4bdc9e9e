"""A model out of a checkpoint, for whoever goes on with it outside of a federation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from fedsim.errors import RunError
from fedsim.learning import checkpoint
from fedsim.learning.checkpoint import Kind
from fedsim.learning.local import fresh_model
from fedsim.tasks.base import Task


def model_of(task: Task, file: Path, seed: int) -> Any:
    """A task's model with the weights of a checkpoint; those that never travelled are the run's own.

    Raises:
        RunError: if the checkpoint cannot be read, or is of another model.
    """
    held = checkpoint.read(file, {})
    if held.metadata.get("model") != task.model_name:
        raise RunError(
            f"holds a {held.metadata.get('model')}; the scenario names {task.model_name}", file=file
        )
    model = fresh_model(task, seed)
    state = {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
    names = checkpoint.names(file)
    kinds = {
        f"{group}.{name}": Kind(tuple(tensor.shape))
        for name, tensor in state.items()
        for group in ("model", "fixed")
        if f"{group}.{name}" in names or (group == "model" and f"fixed.{name}" not in names)
    }
    found = checkpoint.read(file, kinds)
    with torch.no_grad():
        for name, values in (found.group("model") | found.group("fixed")).items():
            state[name].copy_(torch.from_numpy(np.array(values, np.float32)))
    return model
