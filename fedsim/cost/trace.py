"""Layer traces: what every layer of a model costs in a training step, at any batch and length.

A trace is a JSON file in networkx's node-link form. A node is a layer; edges are the tensors that
layers hand on; ``graph`` carries the axes, the variants and the profiles. Layers that cost the same
share a profile, so a file stays readable. It is written by ``fedsim trace`` and read here without
torch.

    graph.axes          lengths that follow from the waveform's samples (see cost/polynomial.py)
    graph.variants      backend/attention/precision; a variant that ends in ``@1`` holds for batch 1
    graph.profiles      profile -> list of {variants, metric: terms, ...}; a metric left out is zero
    graph.blocks        units that gradient checkpointing runs again, with what it keeps of them
    nodes[].kind        conv, matmul, norm, elementwise, attention, loss
    nodes[].arithmetic  conv, grouped_conv, matmul, attention: how its FLOPs are priced, or null
    nodes[].group       the module of the paper's Table 1: cnn_encoder, transformer, quantization, loss

``saved_bytes`` are what autograd holds from the layer until its backward pass, ``cached_bytes`` what
autocast holds besides until the end of the forward pass (16-bit copies of biases). Metrics are
polynomials, but the two ``*_workspace_bytes``: lists of polynomials whose largest
counts. Workspace is what is alive at the worst moment of a layer beyond what is held from it and the
layers before it; it is negative where less is alive.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedsim import paths
from fedsim.cost.polynomial import Axis, Polynomial, lengths
from fedsim.errors import TraceError

if TYPE_CHECKING:
    import networkx

FORMAT = 1

COUNTS = (
    "forward_flops",
    "backward_flops",
    "forward_operand_bytes",
    "backward_operand_bytes",
    "forward_stream_bytes",
    "backward_stream_bytes",
    "forward_launches",
    "backward_launches",
    "saved_bytes",
    "cached_bytes",
)
"""Metrics with one polynomial a layer; they add up over layers."""

WORKSPACES = ("forward_workspace_bytes", "backward_workspace_bytes")
"""Metrics with a list of polynomials a layer, of which the largest counts."""

KINDS = ("conv", "matmul", "norm", "elementwise", "attention", "loss")
ARITHMETIC = ("conv", "grouped_conv", "matmul", "attention")
GROUPS = ("cnn_encoder", "transformer", "quantization", "loss")

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
    columns of those that are matrices (what a factored optimizer keeps).
    """

    name: str
    kind: str
    group: str
    arithmetic: str | None
    parameters: int
    tensors: int
    sides: int
    in_table1: bool
    block: str | None
    profiles: Mapping[str, Profile] = field(repr=False)

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


@dataclass(frozen=True)
class LayerTrace:
    """A model as the simulator knows it. ``parameters`` counts weights, each once."""

    name: str
    parameters: int
    layers: tuple[Layer, ...]
    blocks: Mapping[str, Block]
    axes: tuple[Axis, ...]
    frames_axis: int
    variants: tuple[str, ...]
    input_bytes: Polynomial
    details: Mapping[str, Any] = field(repr=False)
    node_link: Mapping[str, Any] = field(repr=False)
    file: str = ""

    @cached_property
    def graph(self) -> networkx.Graph[str]:
        """The layers as a directed graph: an edge for every tensor handed from layer to layer."""
        import networkx

        graph: networkx.Graph[str] = networkx.node_link_graph(dict(self.node_link), edges="edges")
        return graph

    def lengths(self, samples: Any) -> list[NDArray[np.int64]]:
        """Every axis at these waveform lengths (samples at 16 kHz)."""
        return lengths(self.axes, samples)

    def frames(self, samples: Any) -> NDArray[np.int64]:
        """Frames that the transformer sees for waveforms of ``samples``."""
        return self.lengths(samples)[self.frames_axis]

    def names(self, variant: str) -> tuple[str, str]:
        """The variant's two sets of metrics: for a batch of 1, and for more."""
        if variant not in self.variants:
            known = ", ".join(v for v in self.variants if "@" not in v)
            raise TraceError(
                f"has no variant {variant!r}; it has {known}", file=self.file, key="graph.variants"
            )
        single = f"{variant}@1"
        return (single if single in self.variants else variant), variant

    def per_layer(self, metric: str, variant: str, batch: int, samples: int) -> list[int]:
        """One metric of every layer at one batch and length, exact; workspaces give their largest."""
        single, several = self.names(variant)
        axes = [int(n) for n in self.lengths(samples)]
        values = []
        for layer in self.layers:
            profile = layer.profile(single if batch == 1 else several)
            if metric in WORKSPACES:
                candidates = profile.workspaces.get(metric, ())
                values.append(max((_exact(p, batch, axes) for p in candidates), default=0))
            else:
                values.append(_exact(profile[metric], batch, axes))
        return values


def _exact(polynomial: Polynomial, batch: int, axes: list[int]) -> int:
    return sum(int(c) * batch**i * axes[a] ** j for (i, a, j), c in polynomial.terms.items())


def load_trace(name_or_path: str | Path) -> LayerTrace:
    """Read a trace by catalogue name (``wav2vec2-base``) or path, without importing torch.

    Raises:
        TraceError: there is no such trace, or the file is not a whole one, in one sentence.
    """
    found = paths.find(str(name_or_path), "traces", ".json")
    if found is None:
        known = ", ".join(paths.names("traces", ".json")) or "none yet"
        raise TraceError(f"there is no layer trace {str(name_or_path)!r}; the catalogue has {known}")
    try:
        content = json.loads(found.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise TraceError(f"is not JSON that can be read ({error})", file=found) from None
    return parse_trace(content, file=str(found))


def parse_trace(content: Any, file: str = "") -> LayerTrace:
    """A trace from its node-link form.

    Raises:
        TraceError: something is missing or of the wrong kind; the key path says where.
    """
    reader = _Reader(file)
    graph = reader.get(content, "graph", dict, "")
    form = reader.get(graph, "format", int, "graph")
    if form != FORMAT:
        reader.fail(f"{form} is not a format known here; fedsim reads {FORMAT}", "graph.format")
    axes = tuple(reader.axis(a, i) for i, a in enumerate(reader.get(graph, "axes", list, "graph")))
    if not axes:
        reader.fail("is empty; the first axis is the samples of a waveform", "graph.axes")
    variants = tuple(reader.get(graph, "variants", list, "graph"))
    if not variants or not all(isinstance(v, str) for v in variants):
        reader.fail("is not a list of names such as 'cpu/eager/fp32'", "graph.variants")
    frames_axis = reader.get(graph, "frames_axis", int, "graph")
    if not 0 <= frames_axis < len(axes):
        reader.fail(f"{frames_axis} is not the index of one of {len(axes)} axes", "graph.frames_axis")
    reader.size = len(axes)
    profiles = {
        name: reader.profiles(entries, variants, f"graph.profiles.{name}")
        for name, entries in reader.get(graph, "profiles", dict, "graph").items()
    }
    blocks = {
        name: Block(
            name,
            reader.choice(entry, "stack", ("transformer", "cnn"), f"graph.blocks.{name}"),
            reader.checkpointed(entry, variants, f"graph.blocks.{name}"),
        )
        for name, entry in reader.get(graph, "blocks", dict, "graph").items()
    }
    nodes = reader.get(content, "nodes", list, "")
    if not nodes:
        reader.fail("is empty; a trace has layers", "nodes")
    layers = tuple(reader.layer(node, i, profiles, blocks) for i, node in enumerate(nodes))
    if len({layer.name for layer in layers}) != len(layers):
        reader.fail("two layers have the same id", "nodes")
    reader.edges(content, {layer.name for layer in layers})
    return LayerTrace(
        name=reader.get(graph, "name", str, "graph"),
        parameters=sum(layer.parameters for layer in layers),
        layers=layers,
        blocks=blocks,
        axes=axes,
        frames_axis=frames_axis,
        variants=variants,
        input_bytes=reader.polynomial(reader.get(graph, "input_bytes", list, "graph"), "graph.input_bytes"),
        details=graph,
        node_link=content,
        file=file,
    )


class _Reader:
    """Takes the parts of a trace out of plain JSON and says in one sentence what is wrong."""

    def __init__(self, file: str):
        self.file = file
        self.size = 0
        self.cache: dict[str, Polynomial] = {}

    def fail(self, message: str, key: str) -> Any:
        raise TraceError(message, file=self.file or None, key=key or None)

    def get(self, where: Any, key: str, kind: type, path: str) -> Any:
        full = f"{path}.{key}" if path else key
        if not isinstance(where, dict):
            self.fail("is not a mapping, so this is not a layer trace", path)
        if key not in where:
            self.fail("is missing", full)
        value = where[key]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self.fail(f"{value!r:.60} is not of type {kind.__name__}", full)
        return value

    def choice(self, where: Any, key: str, allowed: tuple[str, ...], path: str) -> str:
        value = self.get(where, key, str, path)
        if value not in allowed:
            self.fail(f"{value!r} is not one of {', '.join(allowed)}", f"{path}.{key}")
        return str(value)

    def axis(self, entry: Any, index: int) -> Axis:
        path = f"graph.axes[{index}]"
        name = self.get(entry, "name", str, path)
        numbers = {k: v for k, v in entry.items() if k != "name"}
        for key, value in numbers.items():
            if (
                key not in ("of", "kernel", "stride", "padding", "multiple")
                or type(value) is not int
                or value < 0
            ):
                self.fail(f"{value!r:.60} is not a whole number of an axis", f"{path}.{key}")
        if (index > 0) != ("of" in numbers) or numbers.get("of", -1) >= index or numbers.get("stride", 1) < 1:
            self.fail("does not follow from an axis before it", path)
        return Axis(name, **numbers)

    def polynomial(self, terms: Any, path: str) -> Polynomial:
        found: dict[tuple[int, int, int], int | float] = {}
        if not isinstance(terms, list):
            self.fail(f"{terms!r:.60} is not a list of [coefficient, batch power, axis, axis power]", path)
        for term in terms:
            if not (isinstance(term, list) and len(term) == 4 and all(type(x) is int for x in term)):
                self.fail(f"{term!r:.60} is not [coefficient, batch power, axis, axis power]", path)
            coefficient, i, axis, j = term
            if i not in (0, 1) or not 0 <= axis < max(self.size, 1) or j not in (0, 1, 2):
                self.fail(f"{term!r:.60} has a power or axis that does not exist", path)
            found[i, axis, j] = coefficient
        return Polynomial(found)

    def profiles(self, entries: Any, variants: tuple[str, ...], path: str) -> dict[str, Profile]:
        if not isinstance(entries, list):
            self.fail("is not a list of metrics by variant", path)
        found: dict[str, Profile] = {}
        for index, entry in enumerate(entries):
            where = f"{path}[{index}]"
            names = self.get(entry, "variants", list, where)
            unknown = [m for m in entry if m not in (*COUNTS, *WORKSPACES, "variants")]
            if unknown:
                self.fail("is not a metric", f"{where}.{unknown[0]}")
            profile = Profile(
                {m: self.polynomial(entry[m], f"{where}.{m}") for m in COUNTS if m in entry},
                {
                    m: tuple(self.polynomial(t, f"{where}.{m}") for t in self.get(entry, m, list, where))
                    for m in WORKSPACES
                    if m in entry
                },
            )
            for name in names:
                if name not in variants or name in found:
                    self.fail(
                        f"{name!r:.60} is not a variant of this trace, or stands twice", f"{where}.variants"
                    )
                found[name] = profile
        return found

    def checkpointed(self, where: Any, variants: tuple[str, ...], path: str) -> dict[str, Checkpoint]:
        found: dict[str, Checkpoint] = {}
        for index, entry in enumerate(self.get(where, "checkpointed", list, path)):
            at = f"{path}.checkpointed[{index}]"
            numbers = {
                f.name: self.polynomial(self.get(entry, f.name, list, at), f"{at}.{f.name}")
                for f in fields(Checkpoint)
                if f.name != "last"
            }
            checkpoint = Checkpoint(last=self.get(entry, "last", str, at), **numbers)
            found |= dict.fromkeys(self.get(entry, "variants", list, at), checkpoint)
        missing = [v for v in variants if "@" not in v and v not in found]
        if missing:
            self.fail(f"says nothing of {missing[0]}", f"{path}.checkpointed")
        return found

    def layer(self, node: Any, index: int, profiles: dict[str, Any], blocks: dict[str, Block]) -> Layer:
        path = f"nodes[{index}]"
        profile = self.get(node, "profile", str, path)
        if profile not in profiles:
            self.fail(f"{profile!r} is not in graph.profiles", f"{path}.profile")
        numbers = {k: self.get(node, k, int, path) for k in ("parameters", "tensors", "sides")}
        for key, value in numbers.items():
            if value < 0:
                self.fail(f"{value} is negative", f"{path}.{key}")
        block, arithmetic = node.get("block"), node.get("arithmetic")
        if block is not None and block not in blocks:
            self.fail(f"{block!r} is not in graph.blocks", f"{path}.block")
        if arithmetic is not None:
            self.choice(node, "arithmetic", ARITHMETIC, path)
        return Layer(
            name=self.get(node, "id", str, path),
            kind=self.choice(node, "kind", KINDS, path),
            group=self.choice(node, "group", GROUPS, path),
            arithmetic=arithmetic,
            **numbers,
            in_table1=self.get(node, "in_table1", bool, path),
            block=block,
            profiles=profiles[profile],
        )

    def edges(self, content: Any, names: set[str]) -> None:
        for index, edge in enumerate(self.get(content, "edges", list, "")):
            for end in ("source", "target"):
                if self.get(edge, end, str, f"edges[{index}]") not in names:
                    self.fail(f"{edge[end]!r} is not a layer", f"edges[{index}].{end}")
