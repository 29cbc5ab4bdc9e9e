"""The layers of a task's model and its head, as the model runs: found on fake tensors, in one forward pass.

*Layers* are the repeated blocks (:mod:`fedsim.tasks.structure.blocks`) in the order in which they run, those
of convolutions aside unless there are no others; without any block, each module with parameters of its own.
The *head* is all whose first use comes after the last of them. Layer traces are read in the same way
(:mod:`fedsim.pricing.trained`), so that what is priced is what is trained.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fedsim.errors import ScenarioError
from fedsim.tasks.base import Task
from fedsim.tasks.structure.blocks import blocks, entries, lists


@dataclass(frozen=True)
class Structure:
    """What a model is made of.

    Attributes:
        layers: paths of its layers, in the order in which they run.
        head: names of the parameters that nothing uses before the last layer has run.
        stack: path of the list that holds the layers, all of one shape, and nothing else; None if there is
            no such list, so that the model cannot be cut.
        widths: length of the vectors that each layer hands on; empty where it hands on none.
        linear: paths of the linear layers that run, in order.
    """

    layers: tuple[str, ...]
    head: frozenset[str]
    stack: str | None
    widths: tuple[int, ...]
    linear: tuple[str, ...]

    def inside(self, name: str) -> int | None:
        """The number, from 1, of the layer that a module or parameter belongs to."""
        for number, layer in enumerate(self.layers, start=1):
            if f"{name}.".startswith(f"{layer}."):
                return number
        return None


@lru_cache(maxsize=8)
def structure_of(task: Task) -> Structure:
    """The structure of a task's model; nothing is computed and no memory taken.

    Raises:
        ScenarioError: the task makes no batch without numbers, or has no parameters.
    """
    with FakeTensorMode(), torch.random.fork_rng(devices=[]):
        try:
            model = task.build()
            model.eval()  # which skips no layer at random
            batch = task.fake_batch(2, {size.name: size.usual for size in task.sizes})
            found = blocks(model)
            chosen = [name for name, kind in found.items() if kind != "cnn"] or list(found)
            watch = _Watch(model)
            _run(task, batch, watch, chosen)
        except NotImplementedError:
            said = f"needs the layers of the model, and the task {task.name!r} has no fake_batch to find them"
            raise ScenarioError(said, key="training.train") from None
        except Exception as fault:
            said = f"needs the layers of the model, which does not run without numbers: {fault}"
            raise ScenarioError(said, key="training.train") from fault
    return _structure(model, watch, chosen, repeated=any(kind != "cnn" for kind in found.values()))


def _run(task: Task, batch: Any, watch: _Watch, chosen: list[str]) -> None:
    """One forward pass.

    A loss whose shapes depend on numbers, such as CTC's, ends it; behind the layers that does no harm, and
    what was not used until then counts as used there.
    """
    try:
        with watch:
            task.traced_loss(watch.model, batch)
    except (DynamicOutputShapeException, DataDependentOutputException):
        if not chosen or not all(name in watch.left for name in chosen):
            raise
        watch.used = dict.fromkeys(watch.names.values(), watch.clock) | watch.used


def _structure(model: nn.Module, watch: _Watch, chosen: list[str], repeated: bool) -> Structure:
    owners = {name: name.rpartition(".")[0] for name, _ in model.named_parameters()}
    if not owners:
        raise ScenarioError("cannot be: the model has no parameters", key="training.train")
    if chosen:
        layers = sorted((name for name in chosen if name in watch.left), key=watch.entered.__getitem__)
        end = max(watch.left[name] for name in layers)
    else:
        used: dict[str, int] = {}
        for name, owner in owners.items():
            if name in watch.used:
                used[owner] = min(watch.used[name], used.get(owner, watch.used[name]))
        layers = sorted(used, key=used.__getitem__)
        end = max(watch.used.values())
    return Structure(
        layers=tuple(layers),
        head=frozenset(name for name, first in watch.used.items() if first > end),
        stack=_stack(model, layers) if chosen else None,
        widths=tuple(watch.widths[name] for name in layers) if repeated else (),
        linear=tuple(
            name for name in watch.entered if name and isinstance(model.get_submodule(name), nn.Linear)
        ),
    )


def _stack(model: nn.Module, layers: list[str]) -> str | None:
    """The list that holds these layers, if there is one and they are alike in what they have in common."""
    for path, held in lists(model):
        if entries(path, held) == layers:
            shapes = {(n, tuple(p.shape)) for layer in held for n, p in layer.named_parameters()}
            alike = max(Counter(name for name, _ in shapes).values(), default=0) == 1
            return path if alike else None
    return None


@dataclass
class _Watch(TorchDispatchMode):
    """Notes when modules are entered and left, and when each parameter is used, for the first time."""

    model: nn.Module
    used: dict[str, int] = field(default_factory=dict)
    entered: dict[str, int] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)
    widths: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.clock = 0
        self.names = {p.untyped_storage()._cdata: name for name, p in self.model.named_parameters()}
        for name, module in self.model.named_modules():
            self._follow(name, module)

    def _follow(self, name: str, module: nn.Module) -> None:
        def enter(_module: nn.Module, _inputs: Any) -> None:
            self.entered.setdefault(name, self._tick())

        def leave(_module: nn.Module, _inputs: Any, output: Any) -> None:
            self.left.setdefault(name, self._tick())
            tensors = list(_tensors(output))
            self.widths.setdefault(name, tensors[0].shape[-1] if tensors and tensors[0].ndim > 1 else 0)

        module.register_forward_pre_hook(enter)
        module.register_forward_hook(leave)

    def _tick(self) -> int:
        self.clock += 1
        return self.clock

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        now = self._tick()
        for tensor in _tensors((args, kwargs)):
            name = self.names.get(tensor.untyped_storage()._cdata)
            if name is not None:
                self.used.setdefault(name, now)
        if func is torch.ops.aten._local_scalar_dense.default and args[0].dtype is torch.bool:
            return True  # as the tracer takes it: whatever may happen does
        return func(*args, **(kwargs or {}))


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    return (leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor))
