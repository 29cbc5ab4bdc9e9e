"""A model of which only a part trains, or runs: what each way of a federation does to it.

The model is built whole, once. While a client trains in some way, the parameters that the way leaves alone
need no gradient, and the list of layers is cut to those that run; the parameters are the same objects before
and after.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from fedsim.errors import ScenarioError
from fedsim.learning import inserted
from fedsim.learning.ways import Way, inserted_by
from fedsim.pricing.trained import Adapters, Biases, Everything, FrozenCNN, Head, Last, LoRA, OneLayer
from fedsim.tasks.base import Task
from fedsim.tasks.structure.layers import Structure, structure_of


class Ways:
    """What the ways of a federation do to its task's model.

    Args:
        task: whose model it is.
        ways: at least one.
        seed: of the run; names the initial values of what is put in.

    Raises:
        ScenarioError: the model has no such layers, or the ways do not go together.
    """

    def __init__(self, task: Task, ways: Sequence[Way], seed: int) -> None:
        self.ways, self._task, self._seed = tuple(ways), task, seed
        self.inserted = inserted_by(ways)
        self._structure: Structure | None = None
        if any(_looks_inside(way) for way in ways):
            self._structure = structure_of(task)
        for way in ways:
            self._check(way)
        self._trains: list[frozenset[str]] = []

    def __len__(self) -> int:
        return len(self.ways)

    @property
    def structure(self) -> Structure:
        """The layers of the model."""
        if self._structure is None:
            self._structure = structure_of(self._task)
        return self._structure

    def prepared(self, model: Any) -> Any:
        """A fresh model with what is put in, of which just that needs gradients which any way trains.

        Raises:
            ScenarioError: a way would train nothing, or there is no place for what is to be put in.
        """
        if self.inserted is not None:
            inserted.put_in(model, self.inserted, self.structure, self._seed)
        self._trains = []
        for way in self.ways:
            with self.cut(model, way.depth):
                self._trains.append(frozenset(self._chosen(model, way)))
            if not self._trains[-1]:
                said = f"is {way.train}, and nothing of the model would train"
                raise ScenarioError(said, key="training.train")
        self._set(model, None)
        return model

    @contextmanager
    def applied(self, model: Any, way: int) -> Iterator[None]:
        """Inside, just that of a prepared model trains and runs which trains and runs in a way.

        Args:
            model: that :meth:`prepared` gave.
            way: its number, from 0.
        """
        self._set(model, way)
        model.zero_grad(set_to_none=True)
        try:
            with self.cut(model, self.ways[way].depth):
                yield
        finally:
            self._set(model, None)

    @contextmanager
    def cut(self, model: Any, depth: int | None) -> Iterator[None]:
        """Inside, only the first ``depth`` layers run; None: all."""
        if depth is None or depth == len(self.structure.layers):
            yield
            return
        assert self.structure.stack is not None
        modules = model.get_submodule(self.structure.stack)._modules
        whole = dict(modules)
        try:
            for name in list(whole)[depth:]:
                del modules[name]
            yield
        finally:
            modules.clear()
            modules.update(whole)

    def finished(self, model: Any, depth: int | None) -> Any:
        """A prepared model for whoever goes on with it alone: cut, updates merged, all of it trainable."""
        inserted.merge(model)
        if depth is not None:
            assert self.structure.stack is not None
            stack: Any = model.get_submodule(self.structure.stack)
            del stack[depth:]
        return model.requires_grad_(True)

    def _set(self, model: Any, way: int | None) -> None:
        """Have just those gradients taken that a way needs; None: those that any needs."""
        trains = frozenset().union(*self._trains) if way is None else self._trains[way]
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in trains)
        for module in model.modules():
            if hasattr(module, "_requires_grad"):  # transformers: of its input too
                module._requires_grad = any(parameter.requires_grad for parameter in module.parameters())

    def _check(self, way: Way) -> None:
        """Refuse what the model's layers do not allow."""
        train, depth = way.train, way.depth
        if not _looks_inside(way):
            return
        count = len(self.structure.layers)
        if depth is not None and depth > count:
            raise ScenarioError(f"is {depth}, and the model has {count} layers", key="training.depth")
        if depth is not None and depth < count and self.structure.stack is None:
            said = f"is {depth}, and the model's {count} layers are not alike: it cannot be cut"
            raise ScenarioError(said, key="training.depth")
        wanted = getattr(train, "layers", getattr(train, "layer", 0))
        if wanted > (depth or count):
            there = f"only the first {depth} of its {count} layers run" if depth else f"it has {count} layers"
            raise ScenarioError(f"is {train}, which the model has not: {there}", key="training.train")

    def _chosen(self, model: nn.Module, way: Way) -> Iterator[str]:
        """The names of the parameters that train in a way, of a model that is cut to its depth."""
        train, names = way.train, [name for name, _ in model.named_parameters()]
        own = [name for name in names if not inserted.is_inserted(name)]
        if _trains_head(train):
            yield from (name for name in own if inserted.plain(name) in self.structure.head)
        if isinstance(train, Everything):
            yield from own
        elif isinstance(train, FrozenCNN):
            yield from self._outside_cnn(model, own)
        elif isinstance(train, Biases):
            named = dict(model.named_parameters())
            yield from (n for n in own if n.rpartition(".")[2] == "bias" and named[n].ndim == 1)
        elif isinstance(train, LoRA | Adapters):
            yield from (name for name in names if inserted.is_inserted(name))
        elif isinstance(train, Last | OneLayer):
            last = way.depth or len(self.structure.layers)
            which = range(last - train.layers + 1, last + 1) if isinstance(train, Last) else (train.layer,)
            yield from (name for name in own if self.structure.inside(name) in which)
        elif not isinstance(train, Head):
            raise ScenarioError(f"is {train}, which the learner does not know", key="training.train")

    def _outside_cnn(self, model: nn.Module, own: list[str]) -> Iterator[str]:
        model.requires_grad_(True)
        self._task.freeze_cnn(model)
        return (name for name in own if model.get_parameter(name).requires_grad)


def _looks_inside(way: Way) -> bool:
    """Whether a way speaks of layers or of the head."""
    plain = isinstance(way.train, Everything | FrozenCNN) or way.train == Biases()
    return way.depth is not None or not plain


def _trains_head(train: Any) -> bool:
    return isinstance(train, Head | Last) or bool(getattr(train, "head", False))
