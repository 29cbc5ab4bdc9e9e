"""What is put into a model to train in its place, as layers of its trace: profiles by formula.

Rows are those of the linear layer beside which it stands: forward FLOPs = 2 x rows x inputs x outputs.

**LoRA** as peft 0.18 runs it (https://github.com/huggingface/peft, src/peft/tuners/lora/layer.py,
``Linear.forward``): ``result = result + lora_B(lora_A(dropout(x))) * scaling``, where dropout is the
identity, and x is cast to fp32, the weights' type, if it is not. So A and B are a product each without
bias, and B is followed by a product with a number and by a sum. A keeps x, which its neighbours may keep as
well, and B what A gives.

**Adapters**: ``h + up(relu(down(h)))`` after each layer, with biases. Down keeps h, up what relu gives.

Under autocast products are in 16 bits: weights are cast for each step and their gradients cast back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from fedsim.errors import InputError
from fedsim.pricing.layers import ZERO, Layer, LayerTrace, Profile
from fedsim.pricing.polynomial import Polynomial
from fedsim.pricing.structure import linear_layers, structure_of
from fedsim.pricing.trained import Adapters, LoRA

_CAST = 6
"""Bytes moved to make 16 bits of 32, or 32 of 16."""


@dataclass(frozen=True)
class Inserted(Layer):
    """A layer that the model does not have as it is traced; ``part`` is what it belongs to."""

    part: str = ""


@lru_cache(maxsize=64)
def inserted(trace: LayerTrace, what: LoRA | Adapters) -> LayerTrace:
    """The model with what is put into it: each right after the layer that it belongs to.

    Raises:
        InputError: there is no place for it.
    """
    new = _lora(trace, what) if isinstance(what, LoRA) else _adapters(trace, what)
    layers: list[Layer] = []
    sources = dict(trace.sources)
    adds_to: dict[str, str] = {}
    for layer in trace.layers:
        read = sources.get(layer.name, ())
        sources[layer.name] = (*read, *(adds_to[name] for name in read if name in adds_to))
        layers.append(layer)
        before = sources[layer.name] if isinstance(what, LoRA) else (layer.name,)
        for one in new.get(layer.name, ()):
            sources[one.name], before = before, (one.name,)
            adds_to[layer.name] = one.name
            layers.append(one)
    return replace(
        trace,
        layers=tuple(layers),
        sources={name: read for name, read in sources.items() if read},
        parameters=sum(layer.parameters for layer in layers),
    )


def _lora(trace: LayerTrace, what: LoRA) -> dict[str, tuple[Layer, ...]]:
    """By the name of the layer beside which they stand: A and B."""
    make = _Profiles()
    found: dict[str, tuple[Layer, ...]] = {}
    for base in linear_layers(trace, what):
        inputs, outputs = base.inputs or 0, base.outputs or 0
        down, up = (
            _layer(base, f"{base.name}.{name}", f"{base.name}.lora", ((what.rank, n),), profiles)
            for name, n, profiles in (
                ("lora_A", inputs, make(_lora_a, base, what.rank)),
                ("lora_B", outputs, make(_lora_b, base, what.rank)),
            )
        )
        found[base.name] = (replace(down, shares=base.shares or base.name), up)
    return found


def _adapters(trace: LayerTrace, what: Adapters) -> dict[str, tuple[Layer, ...]]:
    """By the name of the last layer of each block: its adapter."""
    make = _Profiles()
    found: dict[str, tuple[Layer, ...]] = {}
    for block in structure_of(trace).layers:
        members = [layer for layer in trace.layers if layer.block == block]
        linear = [layer for layer in members if layer.outputs]
        if not linear or trace.blocks[block].stack == "cnn":
            said = f"is {what}, which stand after each of a transformer's layers; {trace.name} has none"
            raise InputError(said, key="train")
        base, width = linear[-1], what.width
        size = base.outputs or 0
        name = f"{block}.adapter"
        shapes = ((width, size), (width,), (size, width), (size,))
        found[members[-1].name] = (_layer(base, name, name, shapes, make(_adapter, base, width)),)
    return found


def _layer(
    base: Layer, name: str, part: str, shapes: tuple[tuple[int, ...], ...], profiles: Mapping[str, Profile]
) -> Inserted:
    return Inserted(
        name=name,
        module_class="Linear",
        kind="matmul",
        group=base.group,
        arithmetic="matmul",
        parameters=sum(shape[0] * shape[-1] if len(shape) > 1 else shape[0] for shape in shapes),
        tensors=len(shapes),
        sides=sum(map(sum, shapes)),
        in_table1=False,
        block=base.block,
        profiles=profiles,
        biases=sum(shape[0] for shape in shapes if len(shape) == 1),
        part=part,
    )


class _Profiles:
    """Makes profiles, one of each, since layers that are alike share theirs."""

    def __init__(self) -> None:
        self.made: dict[tuple[object, ...], Profile] = {}

    def __call__(
        self, make: Callable[[_Sums, Layer, Profile, int], Profile], base: Layer, width: int
    ) -> dict[str, Profile]:
        """By variant."""
        found: dict[str, Profile] = {}
        for variant, profile in base.profiles.items():
            mixed = "mixed" in variant
            key = (make, id(profile), mixed, base.inputs, base.outputs)
            if key not in self.made:
                per_row = 2 * (base.inputs or 0) * (base.outputs or 0)
                rows = profile["forward_flops"] * (1 / per_row)
                self.made[key] = make(_Sums(rows, mixed), base, profile, width)
            found[variant] = self.made[key]
        return found


class _Sums:
    """Adds up what operators on so many rows cost: ``forward``, for ``weight`` and for ``inputs``."""

    def __init__(self, rows: Polynomial, mixed: bool):
        self.rows, self.mixed = rows, mixed
        self.bytes = 2 if mixed else 4
        self.counts: dict[str, list[Polynomial]] = {}

    def add(self, metric: str, by_row: float, once: float = 0) -> None:
        """So much for each row, and so much once."""
        self.counts.setdefault(metric, []).append(self.rows * by_row + Polynomial.constant(once))

    def stream(self, part: str, by_row: float, once: float = 0) -> None:
        """A kernel that reads and writes so many bytes."""
        self.add(f"{part}_stream_bytes", by_row, once)
        self.add(f"{part}_launches", 0, 1)

    def product(self, part: str, inputs: int, outputs: int, bias: bool = False) -> None:
        """A matrix product."""
        self.add(f"{part}_flops", 2 * inputs * outputs)
        once = inputs * outputs + (outputs if bias else 0)
        self.add(f"{part}_operand_bytes", self.bytes * (inputs + outputs), self.bytes * once)
        self.add(f"{part}_launches", 0, 1)

    def linear(self, inputs: int, outputs: int, bias: bool, to_inputs: str = "inputs") -> None:
        """A linear layer, forward and backward; ``to_inputs`` is for whom its input's gradient is."""
        self.product("forward", inputs, outputs, bias)
        self.product("weight", inputs, outputs)
        self.product(to_inputs, inputs, outputs)
        if bias:
            self.stream("weight", self.bytes * outputs, self.bytes * outputs)
        if self.mixed:
            self.add("saved_bytes", 0, 2 * inputs * outputs)
            self.add("cached_bytes", 0, 2 * outputs if bias else 0)
            for numbers in (inputs * outputs, outputs if bias else 0):
                if numbers:
                    self.stream("forward", 0, _CAST * numbers)
                    self.stream("weight", 0, _CAST * numbers)

    def keep(self, by_row: float) -> None:
        """What is kept for the gradients of weights."""
        self.add("saved_bytes", by_row)
        self.add("weight_saved_bytes", by_row)

    def profile(self, forward: list[Polynomial], backward: list[Polynomial]) -> Profile:
        """With these workspaces."""
        total = {metric: Polynomial.total(parts) for metric, parts in self.counts.items()}
        for part in ("flops", "operand_bytes", "stream_bytes", "launches"):
            both = (total.get(f"weight_{part}", ZERO), total.pop(f"inputs_{part}", ZERO))
            total[f"backward_{part}"] = Polynomial.total(both)
        return Profile(
            total,
            {"forward_workspace_bytes": tuple(forward), "backward_workspace_bytes": tuple(backward)},
        )

    def beside(self, profile: Profile, metric: str, by_row: float) -> list[Polynomial]:
        """A layer's workspaces, with so much more."""
        return [w + self.rows * by_row for w in profile.workspaces.get(metric, ()) or (ZERO,)]


def _lora_a(sums: _Sums, base: Layer, profile: Profile, rank: int) -> Profile:
    inputs = base.inputs or 0
    wide = not sums.mixed or any(m != (0, 0, 0) for m in profile["forward_stream_bytes"].terms)
    sums.linear(inputs, rank, bias=False)
    if sums.mixed:
        for _ in range(1 if wide else 2):  # to fp32, unless x is, and from there to 16 bits; and back
            sums.stream("forward", _CAST * inputs)
            sums.stream("inputs", _CAST * inputs)
        sums.keep(2 * inputs)
    sums.stream("inputs", 3 * (4 if wide else 2) * inputs)  # to the gradient from the layer beside it
    between = 0 if wide else 4 * inputs
    return sums.profile(
        sums.beside(profile, "forward_workspace_bytes", between),
        sums.beside(profile, "backward_workspace_bytes", sums.bytes * inputs + between),
    )


def _lora_b(sums: _Sums, base: Layer, profile: Profile, rank: int) -> Profile:
    outputs = base.outputs or 0
    sums.linear(rank, outputs, bias=False, to_inputs="weight")
    sums.keep(sums.bytes * rank)
    one = sums.bytes * outputs
    sums.stream("forward", 2 * one)  # scaled
    sums.stream("forward", 3 * one)  # and added
    sums.stream("weight", 2 * one)
    return sums.profile(
        sums.beside(profile, "forward_workspace_bytes", 2 * one),
        sums.beside(profile, "backward_workspace_bytes", one),
    )


def _adapter(sums: _Sums, base: Layer, profile: Profile, width: int) -> Profile:
    size = base.outputs or 0
    sums.linear(size, width, bias=True)
    sums.linear(width, size, bias=True, to_inputs="weight")
    narrow, one = sums.bytes * width, sums.bytes * size
    sums.stream("forward", 2 * narrow)  # relu
    sums.stream("weight", 3 * narrow)
    sums.stream("forward", 2 * 4 * size + one)  # h and the rest
    sums.stream("inputs", 3 * 4 * size)
    if sums.mixed:
        sums.stream("forward", _CAST * size)
        sums.stream("weight", _CAST * size)
        sums.stream("inputs", _CAST * size)
    sums.keep(one)
    sums.keep(narrow)
    casts = one if sums.mixed else 0
    return sums.profile(
        [sums.rows * narrow, sums.rows * (one + 4 * size)],
        [sums.rows * (4 * size + casts + 2 * narrow), sums.rows * (4 * size + casts + narrow + 4 * size)],
    )
