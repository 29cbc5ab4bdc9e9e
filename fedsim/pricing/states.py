"""What becomes of every layer in a step: whether its weights train, and whether gradients pass through it.

A layer is *reached* if something that it reads from trains or is reached: then its input needs a gradient.
The backward pass of a layer has a part for its input, run where it is reached, and one for its weights,
run where those train. With neither it has no backward pass, and nothing of it is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

from fedsim.errors import InputError
from fedsim.pricing.inserted import Inserted, inserted
from fedsim.pricing.layers import ZERO, Layer, LayerTrace, Profile
from fedsim.pricing.polynomial import Polynomial
from fedsim.pricing.structure import Structure, check_layers, cut, structure_of
from fedsim.pricing.technique import Technique
from fedsim.pricing.trained import (
    EVERYTHING,
    Adapters,
    Biases,
    FrozenCNN,
    Head,
    Last,
    LoRA,
    OneLayer,
    Trained,
)

Trains = Literal["all", "biases", "nothing"]
_PARTS = ("flops", "operand_bytes", "stream_bytes", "launches")


@dataclass(frozen=True)
class State:
    """What becomes of a layer in a step.

    Attributes:
        layer: which.
        trains: which of its own parameters do.
        reached: whether its input needs a gradient.
        divided: whether its trace says what only the gradients of weights need; else all of its backward
            pass runs, and all that it keeps is kept, if any of it is needed.
    """

    layer: Layer
    trains: Trains
    reached: bool
    divided: bool

    @property
    def active(self) -> bool:
        """Whether it has a backward pass."""
        return self.reached or self.trains != "nothing"

    @property
    def parameters(self) -> int:
        """Numbers that train."""
        return {"all": self.layer.parameters, "biases": self.layer.biases, "nothing": 0}[self.trains]

    @property
    def tensors(self) -> int:
        """Tensors that train."""
        return {"all": self.layer.tensors, "biases": int(self.layer.biases > 0), "nothing": 0}[self.trains]

    @property
    def sides(self) -> int:
        """Rows and columns of what trains."""
        return {"all": self.layer.sides, "biases": self.layer.biases, "nothing": 0}[self.trains]

    @property
    def needs_input(self) -> bool:
        """Whether the gradients of its weights need what it read: all but those of a linear layer's bias."""
        return self.trains == "all" or (self.trains == "biases" and self.layer.inputs is None)

    def kept(self, profile: Profile) -> Polynomial:
        """Bytes that autograd holds until its backward pass."""
        saved = profile["saved_bytes"]
        if self.needs_input or (self.active and not self.divided):
            return saved
        return saved - profile["weight_saved_bytes"] if self.reached else ZERO

    def backward(self, profile: Profile) -> Profile:
        """Its backward pass, as the ``backward_*`` of a profile."""
        if not self.divided or (self.reached and self.trains == "all"):
            return profile
        counts: dict[str, Polynomial] = {}
        for part in _PARTS:
            inputs = profile[f"backward_{part}"] - profile[f"weight_{part}"]
            found = inputs if self.reached else ZERO
            if self.trains != "nothing":
                found = found + self._of_weights(profile, part)
                if not self.reached and "bytes" in part and self.layer.kind in ("norm", "conv"):
                    found = found + _least(profile[f"forward_{part}"], inputs)
            counts[f"backward_{part}"] = found
        return Profile(counts, profile.workspaces)

    def _of_weights(self, profile: Profile, part: str) -> Polynomial:
        """The part for weights; of a bias alone, sums over rows, where it is not computed with the others."""
        layer, whole = self.layer, profile[f"weight_{part}"]
        if self.trains == "all":
            return whole
        cast = profile["weight_launches"].terms.get((0, 0, 0), 0) > 2  # under autocast: back to fp32
        number = 2 if cast else 4
        if layer.arithmetic is None:
            others = 4 * (layer.parameters - layer.biases)
            return whole - Polynomial.constant(others) if part == "stream_bytes" else whole
        if part == "launches":
            return whole * 0.5  # half of them are for the weight
        if layer.inputs is None or layer.outputs is None:
            written = {"operand_bytes": number, "stream_bytes": 6 if cast else 0}
            return Polynomial.constant(written.get(part, 0) * layer.biases)
        if part == "stream_bytes":
            return whole - Polynomial.constant(6 * layer.inputs * layer.outputs if cast else 0)
        return ZERO


def _least(one: Polynomial, other: Polynomial) -> Polynomial:
    """What norms and convolutions read for either gradient: about what they move forward, never more than
    is charged to their inputs otherwise."""
    return Polynomial({m: min(c, other.terms.get(m, 0)) for m, c in one.terms.items()})


@dataclass(frozen=True, eq=False)
class Course:
    """A model as it runs under a technique: what runs, with what is inserted, and every layer's state."""

    trace: LayerTrace
    states: tuple[State, ...]

    @cached_property
    def parameters(self) -> int:
        """Numbers that train."""
        return sum(state.parameters for state in self.states)

    @cached_property
    def tensors(self) -> int:
        """Tensors that train."""
        return sum(state.tensors for state in self.states)

    @cached_property
    def sides(self) -> int:
        """Rows and columns of what trains."""
        return sum(state.sides for state in self.states)

    @cached_property
    def largest(self) -> int:
        """Numbers of the layer in which most train."""
        return max((state.parameters for state in self.states), default=0)


def course(trace: LayerTrace, technique: Technique) -> Course:
    """What runs and trains of a model.

    Raises:
        InputError: it has not got the layers or modules that the technique names, in one sentence.
    """
    return _course(trace, technique.train, technique.depth)


@lru_cache(maxsize=256)
def _course(trace: LayerTrace, train: Trained, depth: int | None) -> Course:
    check_layers(trace, train, depth)
    runs = trace if depth is None else cut(trace, depth)
    structure = structure_of(runs)
    divided = any(p["weight_launches"].terms for x in trace.layers for p in x.profiles.values())
    if not divided and isinstance(train, LoRA | Adapters | Biases):
        said = f"is {train}, of which the trace of {trace.name} says nothing; trace it again"
        raise InputError(said, key="train")
    if isinstance(train, LoRA | Adapters):
        runs = inserted(runs, train)
    trains = [_trains(layer, runs, structure, train, divided) for layer in runs.layers]
    if not any(t != "nothing" for t in trains):
        raise InputError(f"is {train}, and nothing of {trace.name} would train", key="train")
    reached = _reached(runs, trains, train)
    return Course(
        runs,
        tuple(
            State(layer, t, r, divided or isinstance(layer, Inserted))
            for layer, t, r in zip(runs.layers, trains, reached, strict=True)
        ),
    )


def _trains(layer: Layer, trace: LayerTrace, structure: Structure, train: Trained, divided: bool) -> Trains:
    """Which of a layer's parameters train."""
    if isinstance(layer, Inserted):
        return "all"
    if train == EVERYTHING:
        return "all"
    weights = any(p["weight_launches"].terms for p in layer.profiles.values()) or not divided
    if isinstance(train, FrozenCNN):
        cnn = layer.block is not None and trace.blocks[layer.block].stack == "cnn"
        return "all" if (layer.parameters or weights) and not cnn else "nothing"
    number, head = structure.number.get(layer.name, 0), layer.name in structure.head
    if isinstance(train, Biases) and layer.biases and not (head and train.head):
        return "biases"
    chosen = {
        Last: head or number > len(structure.layers) - getattr(train, "layers", 0),
        OneLayer: number == getattr(train, "layer", 0) > 0,
        Head: head,
    }.get(type(train), False) or (head and getattr(train, "head", False))
    owns = layer.parameters or structure.module(layer.name) in structure.parametrized
    return "all" if chosen and (owns or (weights and layer.block is not None)) else "nothing"


def _reached(trace: LayerTrace, trains: list[Trains], train: Trained) -> list[bool]:
    """Whether each layer's input needs a gradient.

    What only looks at tensors (views) reads from nothing: it goes with the layer before it.
    """
    if train == EVERYTHING:
        return [True] * len(trains)
    needs: dict[str, bool] = {}
    found: list[bool] = []
    before = False
    for layer, t in zip(trace.layers, trains, strict=True):
        sources = trace.sources.get(layer.name)
        if sources:
            here = any(needs.get(source, False) for source in sources)
        else:
            here = before and not layer.parameters
        found.append(here)
        before = needs[layer.name] = here or t != "nothing"
    return found
