"""What repeats in a model: layers that are alike, of which few need be traced.

They are found in lists of modules (``ModuleList``, ``Sequential``). Layers that follow one another and have
the same modules and parameters cost the same, up to what a trace of the whole model shows (see trace.py):
the first and the last of them stand for themselves, the second for all between. Blocks that gradient
checkpointing runs again are found in the same lists (:mod:`fedsim.tasks.structure.blocks`).
"""

from __future__ import annotations

from itertools import groupby

from torch import nn

from fedsim.tasks.structure.blocks import lists

FEW = 3
Copies = tuple[tuple[int, ...], ...]
Stacks = dict[str, Copies]
"""By the path of a list of modules: the layers of the whole model for which each that was kept stands."""


def shorten(model: nn.Module) -> Stacks:
    """Take layers out of a model that are like their neighbours; says what those that are left stand for."""
    stacks: Stacks = {}
    for path, layers in list(lists(model)):
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


def place(module: str, stacks: Stacks) -> tuple[str, int, str] | None:
    """(list, index, rest) of a module inside a layer of a shortened list; None for others."""
    for path in stacks:
        if module.startswith(f"{path}."):
            index, _, rest = module[len(path) + 1 :].partition(".")
            return path, int(index), f".{rest}" if rest else ""
    return None


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
