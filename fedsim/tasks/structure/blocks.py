"""Repeated blocks of a model, found in its lists of modules."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from torch import nn


def blocks(model: nn.Module) -> dict[str, str]:
    """Modules that gradient checkpointing runs again as one, and the kind of each (cnn or transformer).

    They are what transformers checkpoints in a model of its own; elsewhere what stands in a list beside
    others of its class and is made of several modules, the outermost such.
    """
    known = sys.modules.get("transformers.modeling_layers")  # not imported: the model has none of its layers
    found = [] if known is None else _instances(model, known.GradientCheckpointingLayer)
    if not found:
        for path, layers in lists(model):
            classes = {type(layer) for layer in layers}
            if len(layers) > 1 and len(classes) == 1 and next(layers[0].children(), None) is not None:
                inside = any(f"{path}.".startswith(f"{block}.") for block in found)
                found += [] if inside else entries(path, layers)
    return {name: _kind(model.get_submodule(name)) for name in found}


def lists(model: nn.Module) -> Iterator[tuple[str, nn.ModuleList | nn.Sequential]]:
    """Lists of modules from the outermost in, with their paths, if their entries are called by number."""
    for path, module in model.named_modules():
        names = [name for name, _ in module.named_children()]
        if isinstance(module, nn.ModuleList | nn.Sequential) and names == [str(i) for i in range(len(names))]:
            yield path, module


def entries(path: str, layers: nn.ModuleList | nn.Sequential) -> list[str]:
    """The paths of what stands in a list; its own is empty if the list is the model."""
    return [f"{path}.{i}" if path else str(i) for i in range(len(layers))]


def _instances(model: nn.Module, kind: type) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, kind)]


def _kind(block: nn.Module) -> str:
    convolves = any(isinstance(m, nn.modules.conv._ConvNd) for m in block.modules())
    multiplies = any(isinstance(m, nn.Linear | nn.MultiheadAttention) for m in block.modules())
    return "cnn" if convolves and not multiplies else "transformer"
