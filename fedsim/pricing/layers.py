"""Layer traces: what every layer of a model costs in a training step, at any batch and length.

A trace is a JSON file in networkx's node-link form. A node is a layer; edges are the tensors that
layers hand on; ``graph`` carries the axes, the variants and the profiles. Layers that cost the same
share a profile, so a file stays readable. It is written by ``fedsim trace`` and read, without torch,
by pricing/trace.py.

    graph.axes          sizes of an example and lengths that follow from them (see pricing/polynomial.py)
    graph.exact         false where counts are no polynomials; then graph.largest_error says how far they
                        are off, in parts of a count's sum over the layers, at batches and sizes held out
    graph.variants      backend/attention/precision; a variant that ends in ``@1`` holds for batch 1
    graph.profiles      profile -> list of {variants, metric: terms, ...}; a metric left out is zero
    graph.blocks        units that gradient checkpointing runs again, with what it keeps of them
    nodes[].class       the module that computes it, such as Linear
    nodes[].kind        conv, matmul, norm, elementwise, attention, loss
    nodes[].arithmetic  conv, grouped_conv, matmul, attention: how its FLOPs are priced, or null
    nodes[].group       the module of the paper's Table 1: cnn_encoder, transformer, quantization; or
                        head (another objective's layers), loss; model (of any other task)
    nodes[].inputs, outputs   of the one weight matrix of a linear layer, or null
    nodes[].biases      numbers in its parameters called bias
    nodes[].shares      an earlier layer that keeps what this one's weights need too, or null

``backward_*`` count the whole backward pass, ``weight_*`` the part of it that nothing needs but the gradients
of the layer's own parameters; ``weight_saved_bytes`` is the part of ``saved_bytes`` that is kept for those.

``saved_bytes`` are what autograd holds from the layer until its backward pass, ``cached_bytes`` what
autocast holds besides until the end of the forward pass (16-bit copies of biases), ``output_bytes``
what a module without children returns. Metrics are polynomials, but the two ``*_workspace_bytes``:
lists of polynomials whose largest counts. Workspace is what is alive at the worst moment of a layer
beyond what is held from it and the layers before it; it is negative where less is alive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim.errors import TraceError
from fedsim.pricing.polynomial import Axis, Polynomial, lengths

FORMAT = 3
FORMATS = (1, 2, 3)
"""Those that are read; in format 1 all sizes but one are fixed, and counts are exact."""

COUNTS = (
    "forward_flops",
    "backward_flops",
    "forward_operand_bytes",
    "backward_operand_bytes",
    "forward_stream_bytes",
    "backward_stream_bytes",
    "forward_launches",
    "backward_launches",
    "weight_flops",
    "weight_operand_bytes",
    "weight_stream_bytes",
    "weight_launches",
    "saved_bytes",
    "weight_saved_bytes",
    "cached_bytes",
    "output_bytes",
)
"""Metrics with one polynomial a layer; they add up over layers."""

WORKSPACES = ("forward_workspace_bytes", "backward_workspace_bytes")
"""Metrics with a list of polynomials a layer, of which the largest counts."""

KINDS = ("conv", "matmul", "norm", "elementwise", "attention", "loss")
ARITHMETIC = ("conv", "grouped_conv", "matmul", "attention")
GROUPS = ("cnn_encoder", "transformer", "quantization", "head", "loss", "model")

NO_SIZE = "none"
"""The name of the first axis of a trace whose examples are all of one size; its length is 1."""

ZERO = Polynomial()


@dataclass(frozen=True)
class Profile:
    """The metrics of a layer in one variant."""

    counts: Mapping[str, Polynomial]
    workspaces: Mapping[str, tuple[Polynomial, ...]]

    def __getitem__(self, metric: str) -> Polynomial:
        return self.counts.get(metric, ZERO)


_IDLE = Profile({}, {})


@dataclass(frozen=True)
class Layer:
    """One layer: what it is, and its metrics in every variant.

    ``parameters`` counts numbers, ``tensors`` the tensors that hold them, ``sides`` the rows and
    columns of those that are matrices (what a factored optimizer keeps), ``biases`` the numbers in those
    called bias. ``inputs`` and ``outputs`` are those of a linear layer's one matrix, else None. ``shares`` is
    the earlier layer that is charged with what this one's weights keep too (q, k and v keep one input).
    """

    name: str
    module_class: str
    kind: str
    group: str
    arithmetic: str | None
    parameters: int
    tensors: int
    sides: int
    in_table1: bool
    block: str | None
    profiles: Mapping[str, Profile] = field(repr=False)
    inputs: int | None = None
    outputs: int | None = None
    biases: int = 0
    shares: str | None = None

    def profile(self, variant: str) -> Profile:
        """The metrics in ``variant``; a layer that does nothing there has none."""
        return self.profiles.get(variant, _IDLE)


@dataclass(frozen=True)
class Checkpoint:
    """What gradient checkpointing does with a block in one variant.

    ``input_bytes`` are the tensors handed to the block, which it keeps instead of its own;
    ``kept_bytes`` is the part of them that its layers keep anyway, and so already count. It runs
    again up to the layer ``last``; the ``tail`` of its forward pass is not needed and not run.
    """

    last: str
    input_bytes: Polynomial
    kept_bytes: Polynomial
    tail_launches: Polynomial
    tail_operand_bytes: Polynomial
    tail_stream_bytes: Polynomial


@dataclass(frozen=True)
class Block:
    """A stretch of layers that gradient checkpointing can run again as one."""

    name: str
    stack: str
    checkpointed: Mapping[str, Checkpoint] = field(repr=False)


@dataclass(frozen=True, eq=False)
class LayerTrace:
    """A model as the simulator knows it. ``parameters`` counts weights, each once.

    Two traces are equal only if they are the same object.
    """

    name: str
    parameters: int
    layers: tuple[Layer, ...]
    blocks: Mapping[str, Block]
    axes: tuple[Axis, ...]
    frames_axis: int
    variants: tuple[str, ...]
    input_bytes: Polynomial
    details: Mapping[str, Any] = field(repr=False)
    file: str = ""
    exact: bool = True
    largest_error: float = 0.0
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    """By layer, those whose tensors it reads."""

    @property
    def sizes(self) -> tuple[str, ...]:
        """The size axes of an example, such as ``samples`` (at 16 kHz); none if all are of one size."""
        return tuple(axis.name for axis in self.axes if axis.of is None and axis.name != NO_SIZE)

    def lengths(self, *sizes: Any) -> list[NDArray[np.int64]]:
        """Every axis at these sizes, one for each of ``sizes`` (for waveforms, samples at 16 kHz)."""
        return lengths(self.axes, *sizes)

    def frames(self, samples: Any) -> NDArray[np.int64]:
        """Frames that the transformer sees for waveforms of ``samples``."""
        return self.lengths(samples)[self.frames_axis]

    def holding(self, **sizes: int) -> LayerTrace:
        """The same model with some of its sizes fixed; at least one that it has stays free."""
        if not sizes:
            return self
        known: dict[int, int] = {}
        for index, axis in enumerate(self.axes):
            if axis.of is None and axis.name in sizes:
                known[index] = sizes[axis.name]
            elif axis.of in known:
                known[index] = int(axis.length(known[axis.of]))
        left = [index for index in range(len(self.axes)) if index not in known]
        place = {index: here for here, index in enumerate(left)}

        def held(thing: Any) -> Any:
            if isinstance(thing, Polynomial):
                return thing.holding(known, place)
            return tuple(map(held, thing)) if isinstance(thing, tuple) else thing

        def profile(old: Profile) -> Profile:
            return Profile(*({m: held(p) for m, p in part.items()} for part in (old.counts, old.workspaces)))

        changed = {id(p): profile(p) for layer in self.layers for p in layer.profiles.values()}
        return replace(
            self,
            layers=tuple(
                replace(layer, profiles={v: changed[id(p)] for v, p in layer.profiles.items()})
                for layer in self.layers
            ),
            blocks={
                name: replace(
                    block,
                    checkpointed={
                        v: Checkpoint(**{f.name: held(getattr(c, f.name)) for f in fields(c)})
                        for v, c in block.checkpointed.items()
                    },
                )
                for name, block in self.blocks.items()
            },
            axes=tuple(
                replace(self.axes[i], of=None if (of := self.axes[i].of) is None else place[of]) for i in left
            ),
            frames_axis=place.get(self.frames_axis, 0),
            input_bytes=held(self.input_bytes),
        )

    def names(self, variant: str) -> tuple[str, str]:
        """The variant's two sets of metrics: for a batch of 1, and for more."""
        if variant not in self.variants:
            known = ", ".join(v for v in self.variants if "@" not in v)
            raise TraceError(
                f"has no variant {variant!r}; it has {known}", file=self.file, key="graph.variants"
            )
        single = f"{variant}@1"
        return (single if single in self.variants else variant), variant

    def per_layer(self, metric: str, variant: str, batch: int, *sizes: int) -> list[int]:
        """One metric of every layer at one batch and one of each size; workspaces give their largest."""
        single, several = self.names(variant)
        axes = [int(n) for n in self.lengths(*sizes)]
        values = []
        for layer in self.layers:
            profile = layer.profile(single if batch == 1 else several)
            if metric in WORKSPACES:
                candidates = profile.workspaces.get(metric, ())
                values.append(max((p.at(batch, axes) for p in candidates), default=0))
            else:
                values.append(profile[metric].at(batch, axes))
        return values
