"""A model out of a checkpoint, for whoever goes on with it outside of a federation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch

from fedsim import checks
from fedsim.errors import InputError, RunError
from fedsim.learning import checkpoint
from fedsim.learning.checkpoint import Kind
from fedsim.learning.inserted import plain
from fedsim.learning.local import fresh_model
from fedsim.learning.partial import Ways
from fedsim.learning.ways import Way
from fedsim.options import Options, option
from fedsim.pricing.trained import EVERYTHING, TRAIN, Trained
from fedsim.tasks.base import Task


def model_of(task: Task, file: Path, seed: int) -> Any:
    """A task's model with the weights of a checkpoint, as deep as it was trained, low-rank updates merged.

    Weights that never travelled are the run's own.

    Raises:
        RunError: if the checkpoint cannot be read, or is of another model.
    """
    held = checkpoint.read(file, {})
    if held.metadata.get("model") != task.model_name:
        raise RunError(
            f"holds a {held.metadata.get('model')}; the scenario names {task.model_name}", file=file
        )
    ways = Ways(task, (way_of(held.metadata, file),), seed)
    model = ways.prepared(fresh_model(task, seed))
    state = {plain(n): tensor for n, tensor in model.state_dict().items() if tensor.is_floating_point()}
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
    return ways.finished(model, ways.ways[0].depth)


def way_of(metadata: Mapping[str, str], file: Path) -> Way:
    """What a checkpoint says was put into its model, and how many layers ran."""
    try:
        depth = int(metadata["depth"]) if "depth" in metadata else None
        said = {"train": json.loads(metadata["inserted"])} if "inserted" in metadata else {}
        return Way(checks.check(_Said, said).train, depth)
    except (ValueError, InputError):
        raise RunError("is damaged: what was put into its model cannot be read", file=file) from None


@dataclass(frozen=True)
class _Said(Options):
    train: Annotated[Trained, TRAIN] = option(EVERYTHING)
