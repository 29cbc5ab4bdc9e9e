"""What is put into a model to train in its place: low-rank updates of linear layers, or adapters.

Initial values follow from the run's seed and the name of each tensor, on any worker alike. LoRA is that of
``peft``, which is imported only here, only where it is used.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from fedsim import rng
from fedsim.determinism import seeded
from fedsim.errors import ScenarioError
from fedsim.pricing.trained import Adapters, LoRA
from fedsim.tasks.structure.layers import Structure

_KEPT_BY_PEFT = ((".base_layer.", "."), (".lora_A.default.", ".lora_A."), (".lora_B.default.", ".lora_B."))
_INSERTED = re.compile(r"\.(lora_A|lora_B)\.default\.weight$|\.adapter\.(down|up)\.(weight|bias)$")


class Adapter(nn.Module):
    """h + up(relu(down(h))); at first h.

    Args:
        size: of h, along its last axis.
        width: of the bottleneck.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(size, width), nn.Linear(width, size)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """float[..., size] to the same shape."""
        out: torch.Tensor = h + self.up(torch.relu(self.down(h)))
        return out


def put_in(model: nn.Module, what: LoRA | Adapters, structure: Structure, seed: int) -> None:
    """Put low-rank updates or adapters into a model, which computes what it did before.

    Raises:
        ScenarioError: there is no place for them.
    """
    if isinstance(what, LoRA):
        _put_in_lora(model, what, linear_layers(what, structure), seed)
    else:
        _put_in_adapters(model, what, structure, seed)


def is_inserted(name: str) -> bool:
    """Whether a parameter was put into the model."""
    return _INSERTED.search(f".{name}") is not None


def plain(name: str) -> str:
    """A tensor's name as checkpoints have it: that of the model without what peft wraps around layers."""
    for theirs, ours in _KEPT_BY_PEFT:
        name = name.replace(theirs, ours)
    return name


def linear_layers(what: LoRA, structure: Structure) -> list[str]:
    """The paths of the linear layers that low-rank updates are put beside.

    Raises:
        ScenarioError: a name matches none, or there are none.
    """
    if (name := what.unknown(structure.linear)) is not None:
        last = dict.fromkeys(path.rpartition(".")[2] for path in structure.linear)
        known = ", ".join(last) or "none"
        raise ScenarioError(
            f"{name!r} names no linear layer of the model; there are {known}", key="training.train.modules"
        )
    found = what.beside(structure.linear, structure.inside)
    if not found:
        raise ScenarioError("is lora, and no layer of the model is linear", key="training.train")
    return found


def merge(model: nn.Module) -> None:
    """Add low-rank updates to the weights that they stand beside, and take them out of the model."""
    wrapped = [
        (path, module)
        for path, module in model.named_modules()
        if hasattr(module, "lora_A") and hasattr(module, "base_layer")
    ]
    for path, module in wrapped:
        theirs: Any = module
        theirs.merge()
        above, _, name = path.rpartition(".")
        setattr(model.get_submodule(above), name, theirs.get_base_layer())


def _put_in_lora(model: nn.Module, what: LoRA, paths: Sequence[str], seed: int) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    alpha: Any = 2 * what.rank if what.alpha is None else what.alpha  # peft says int and takes any number
    asked = LoraConfig(
        r=what.rank,
        lora_alpha=alpha,
        target_modules="|".join(map(re.escape, paths)),  # a pattern: these paths and no others
        lora_dropout=0.0,
        bias="none",
    )
    inject_adapter_in_model(asked, model)
    for path in paths:  # torch's own encoder layers infer past their modules, except where one has a hook
        model.get_submodule(path).register_forward_pre_hook(_called)
    for name, parameter in model.named_parameters():
        if name.endswith(".lora_A.default.weight"):
            with _seeded(seed, name):
                nn.init.kaiming_uniform_(parameter, a=math.sqrt(5))
        elif name.endswith(".lora_B.default.weight"):
            nn.init.zeros_(parameter)


def _called(_layer: Any, _inputs: Any) -> None:
    """Nothing."""


def _put_in_adapters(model: nn.Module, what: Adapters, structure: Structure, seed: int) -> None:
    if not structure.widths or not all(structure.widths):
        raise ScenarioError(
            "is adapters, which stand after each of a transformer's layers, and the model has none",
            key="training.train",
        )
    for path, size in zip(structure.layers, structure.widths, strict=True):
        layer = model.get_submodule(path)
        with _seeded(seed, f"{path}.adapter"):
            adapter = Adapter(size, what.width)
        nn.init.zeros_(adapter.up.weight)
        nn.init.zeros_(adapter.up.bias)
        layer.add_module("adapter", adapter)
        layer.register_forward_hook(_adapted)


def _adapted(layer: Any, _inputs: Any, output: Any) -> Any:
    """What a layer hands on, its hidden states adapted: they are its output, or the first of several."""
    if isinstance(output, torch.Tensor):
        return layer.adapter(output)
    return (layer.adapter(output[0]), *output[1:])


def _seeded(seed: int, name: str) -> Any:
    return seeded(rng.key(seed, "inserted", plain(name)))
