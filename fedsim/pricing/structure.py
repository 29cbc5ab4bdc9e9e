"""The layers and the head of a model, as its trace has them.

*Layers* are the repeated blocks in the order in which they run, those of stack ``cnn`` aside if there are
others; without any block, each module that has parameters. The *head* is all that runs after the last.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from fedsim.errors import InputError
from fedsim.pricing.layers import Layer, LayerTrace
from fedsim.pricing.trained import LoRA, OneLayer, Trained
from fedsim.words import plural

_NUMBER = re.compile(r"^(.*\.)?(\d+)$")
_PARAMETRIZED = ".parametrizations."


@dataclass(frozen=True)
class Structure:
    """Where the layers of a model are.

    Attributes:
        layers: names of its layers, in the order in which they run.
        number: by a traced layer's name, the number from 1 of the layer that it is in; 0 for what runs before
            the last of them and is in none.
        head: names of the traced layers that run after the last of them.
        parametrized: modules whose weights others compute.
    """

    layers: tuple[str, ...]
    number: Mapping[str, int]
    head: frozenset[str]
    parametrized: frozenset[str]

    def module(self, name: str) -> str:
        """The module to which a traced layer belongs: what computes its weights belongs to it, too."""
        return next((m for m in self.parametrized if f"{name}.".startswith(f"{m}.")), name)


@lru_cache(maxsize=64)
def structure_of(trace: LayerTrace) -> Structure:
    """The layers and the head of a model."""
    parametrized = frozenset(
        layer.name.partition(_PARAMETRIZED)[0] for layer in trace.layers if _PARAMETRIZED in layer.name
    )
    chosen = {name for name, block in trace.blocks.items() if block.stack != "cnn"} or set(trace.blocks)
    found = Structure((), {}, frozenset(), parametrized)
    owners = {
        layer.name: layer.block if chosen else found.module(layer.name)
        for layer in trace.layers
        if (layer.block in chosen if chosen else layer.parameters)
    }
    order = list(dict.fromkeys(str(owner) for owner in owners.values()))
    last = max((i for i, layer in enumerate(trace.layers) if layer.name in owners), default=-1)
    return replace(
        found,
        layers=tuple(order),
        number={name: order.index(str(owner)) + 1 for name, owner in owners.items()},
        head=frozenset(layer.name for layer in trace.layers[last + 1 :]),
    )


@lru_cache(maxsize=64)
def cut(trace: LayerTrace, depth: int) -> LayerTrace:
    """The model of which only the first ``depth`` layers run, and then its head.

    Raises:
        InputError: it has fewer layers, or they are not alike.
    """
    found = structure_of(trace)
    check_depth(trace, depth)
    names = [_NUMBER.match(name) for name in found.layers]
    lists = {match[1] if match else name for match, name in zip(names, found.layers, strict=True)}
    if not set(found.layers) <= set(trace.blocks) or len(lists) > 1 or not _alike(trace, found):
        raise InputError(f"cannot be: the layers of {trace.name} are not alike, so none can go", key="depth")
    gone = {name for name, number in found.number.items() if number > depth}
    last = found.layers[depth - 1]

    def stands_for(name: str) -> str:
        if name not in gone:
            return name
        return last + name.removeprefix(found.layers[found.number[name] - 1])

    return replace(
        trace,
        parameters=sum(layer.parameters for layer in trace.layers if layer.name not in gone),
        layers=tuple(
            replace(layer, shares=stands_for(layer.shares) if layer.shares else None)
            for layer in trace.layers
            if layer.name not in gone
        ),
        sources={
            name: tuple(dict.fromkeys(map(stands_for, sources)))
            for name, sources in trace.sources.items()
            if name not in gone
        },
    )


def check_depth(trace: LayerTrace, depth: int) -> None:
    """Refuse a depth that the model has not got."""
    there = len(structure_of(trace).layers)
    if depth > there:
        raise InputError(f"{depth} is beyond {trace.name}, which has {plural(there, 'layer')}", key="depth")


def check_layers(trace: LayerTrace, train: Trained, depth: int | None) -> None:
    """Refuse layers to train that the model has not got, or that do not run."""
    asked = train.layer if isinstance(train, OneLayer) else getattr(train, "layers", 0)
    there = len(structure_of(trace).layers)
    if asked and not there:
        raise InputError(f"is {train}, and {trace.name} has no layers", key="train")
    if asked > there:
        raise InputError(f"is {train}, and {trace.name} has {plural(there, 'layer')}", key="train")
    if depth is not None and asked > depth:
        raise InputError(f"is {train}, and only {plural(depth, 'layer')} run (depth)", key="train")


def _alike(trace: LayerTrace, found: Structure) -> bool:
    """Whether layers have weights of the same size; the first may have more of its own."""
    weights: list[dict[str, int]] = [{} for _ in found.layers]
    for layer in trace.layers:
        number = found.number.get(layer.name)
        if number:
            weights[number - 1][layer.name.removeprefix(found.layers[number - 1])] = layer.parameters
    return all(other == weights[-1] for other in weights[1:]) and all(
        weights[0].get(name) == n for name, n in weights[-1].items() if n
    )


def linear_layers(trace: LayerTrace, train: LoRA) -> list[Layer]:
    """The linear layers beside which low-rank updates are put.

    Raises:
        InputError: a name matches none, or there are none.
    """
    linear = {layer.name: layer for layer in trace.layers if layer.inputs}
    if (name := train.unknown(list(linear))) is not None:
        last = dict.fromkeys(path.rpartition(".")[2] for path in linear)
        raise InputError(
            f"{name!r} names no linear layer of {trace.name}; there are {', '.join(last) or 'none'}",
            key="training.train.modules",
        )
    found = train.beside(list(linear), structure_of(trace).number.__contains__)
    if not found:
        raise InputError(f"is {train}, and no layer of {trace.name} is linear", key="train")
    return [linear[path] for path in found]
