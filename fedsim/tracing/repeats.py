"""What repeats in a model: layers that are alike, of which few need be traced, and blocks to checkpoint.

Both are found in lists of modules (``ModuleList``, ``Sequential``). Layers that follow one another and have
the same modules and parameters cost the same, up to what a trace of the whole model shows (see trace.py):
the first and the last of them stand for themselves, the second for all between.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

FEW = 3
Copies = tuple[tuple[int, ...], ...]
Stacks = dict[str, Copies]
"""By the path of a list of modules: the layers of the whole model for which each that was kept stands."""


def shorten(model: nn.Module) -> Stacks:
    """Take layers out of a model that are like their neighbours; says what those that are left stand for."""
    stacks: Stacks = {}
    for path, layers in list(_lists(model)):
        if any(path.startswith(f"{above}.") for above in stacks):
            continue
        kept: list[tuple[int, ...]] = []
        for _, run in groupby(enumerate(map(_signature, layers)), key=lambda pair: pair[1]):
            alike = [i for i, _ in run]
            few = len(alike) <= FEW or not _keeps_length(layers[alike[0]])
            kept += [(i,) for i in alike] if few else [(alike[0],), tuple(alike[1:-1]), (alike[-1],)]
        if len(kept) < len(layers):
            stacks[path] = tuple(kept)
            for i in reversed([i for copies in kept for i in copies[1:]]):
                del layers[i]
    return stacks


def blocks(model: nn.Module) -> dict[str, str]:
    """Modules that gradient checkpointing runs again as one, and the kind of each (cnn or transformer).

    They are what transformers checkpoints in a model of its own; elsewhere what stands in a list beside
    others of its class and is made of several modules, the outermost such.
    """
    found = [name for name, module in model.named_modules() if isinstance(module, GradientCheckpointingLayer)]
    if not found:
        for path, layers in _lists(model):
            classes = {type(layer) for layer in layers}
            if len(layers) > 1 and len(classes) == 1 and next(layers[0].children(), None) is not None:
                inside = any(f"{path}.".startswith(f"{block}.") for block in found)
                found += [] if inside else [f"{path}.{i}" for i in range(len(layers))]
    return {name: _kind(model.get_submodule(name)) for name in found}


def place(module: str, stacks: Stacks) -> tuple[str, int, str] | None:
    """(list, index, rest) of a module inside a layer of a shortened list; None for others."""
    for path in stacks:
        if module.startswith(f"{path}."):
            index, _, rest = module[len(path) + 1 :].partition(".")
            return path, int(index), f".{rest}" if rest else ""
    return None


def _lists(model: nn.Module) -> Iterator[tuple[str, nn.ModuleList | nn.Sequential]]:
    """Lists of modules from the outermost in, with their paths, if their entries are called by number."""
    for path, module in model.named_modules():
        names = [name for name, _ in module.named_children()]
        if isinstance(module, nn.ModuleList | nn.Sequential) and names == [str(i) for i in range(len(names))]:
            yield path, module


def _keeps_length(layer: nn.Module) -> bool:
    """Whether what a layer hands on is as long as what it was handed, as far as its modules say."""
    for module in layer.modules():
        if any(n > 1 for n in _numbers(getattr(module, "stride", 1))):
            return False
        if isinstance(module, nn.modules.conv._ConvNd) and not isinstance(module.padding, str):
            sides = zip(module.kernel_size, module.dilation, module.padding, strict=True)
            if any(2 * padding < dilation * (kernel - 1) for kernel, dilation, padding in sides):
                return False
    return True


def _numbers(value: int | tuple[int, ...] | None) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value or 1,)


def _signature(layer: nn.Module) -> str:
    """Modules and parameters with their shapes."""
    modules = [(name, type(module), module.extra_repr()) for name, module in layer.named_modules()]
    tensors = [(name, tuple(p.shape), p.dtype, p.requires_grad) for name, p in layer.named_parameters()]
    return repr((modules, tensors))


def _kind(block: nn.Module) -> str:
    convolves = any(isinstance(m, nn.modules.conv._ConvNd) for m in block.modules())
    multiplies = any(isinstance(m, nn.Linear | nn.MultiheadAttention) for m in block.modules())
    return "cnn" if convolves and not multiplies else "transformer"
