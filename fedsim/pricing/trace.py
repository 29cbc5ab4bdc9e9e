"""Layer traces from their files: everything that is missing or malformed is one sentence.

A trace is plain JSON, so reading one imports neither torch nor networkx.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, make_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from fedsim import checks, files, paths
from fedsim.errors import TraceError
from fedsim.options import Bounds, Name, Options, option
from fedsim.pricing.layers import (
    ARITHMETIC,
    COUNTS,
    FORMAT,
    FORMATS,
    GROUPS,
    KINDS,
    NO_SIZE,
    WORKSPACES,
    Block,
    Checkpoint,
    Layer,
    LayerTrace,
    Profile,
)
from fedsim.pricing.polynomial import Axis, Monomial, Polynomial, monomial
from fedsim.words import shown, slashes

MOST_BYTES = 8 * files.MB  # twenty times the largest of the catalogue

LARGEST = 10**12
"""Of parameters and coefficients: a thousand times those of the largest model of the catalogue."""

__all__ = ["Layer", "LayerTrace", "load_trace", "parse_trace"]

Term = tuple[Annotated[int, Bounds(ge=-LARGEST, le=LARGEST)], ...]
Terms = tuple[Term, ...]
Names = tuple[Name, ...]
MOST_POWER = 4
_TERM = "[coefficient up to 1e12, batch power 0 to 2, axis, axis power 0 to 4]"
_TERMS = f"a list of {_TERM}"
_VARIANTS = "a list of names such as 'cpu/eager/fp32'"
_COUNT = "a whole number from 0 to 1e12"


def _with_terms(name: str, metrics: tuple[str, ...], several: tuple[str, ...] = (), **default: Any) -> type:
    """A block of a trace file that says something for some variants in polynomials."""
    found: list[tuple[str, Any, Any]] = [("variants", Names, option(right=_VARIANTS))]
    found += [(metric, Terms, option(right=_TERMS, **default)) for metric in metrics]
    found += [
        (metric, tuple[Terms, ...], option(right=f"lists, each {_TERMS}", **default)) for metric in several
    ]
    return make_dataclass(name, found, bases=(Options,), frozen=True, kw_only=True)


_Profile = _with_terms("_Profile", COUNTS, WORKSPACES, default=())
_LENGTHS = tuple(field.name for field in fields(Checkpoint) if field.name != "last")


@dataclass(frozen=True, kw_only=True)
class _Checkpoint(_with_terms("_Lengths", _LENGTHS)):  # type: ignore[misc]
    last: Name = option(right="the name of a layer")


@dataclass(frozen=True)
class _Block(Options):
    stack: Literal["transformer", "cnn"] = option(right="transformer or cnn")
    checkpointed: tuple[_Checkpoint, ...] = option(right="a list of what checkpointing keeps, by variant")


@dataclass(frozen=True, kw_only=True)
class _Graph(Options):
    format: int = option(right=f"{FORMAT}, the format that is written here")
    name: Name = option(right="the name of the model")
    objective: str = option("", "what is trained")
    config: dict[str, Any] = option(factory=dict, description="of the model")
    torch: str = option("", "the version that traced it")
    transformers: str = option("", "the version that traced it")
    axes: tuple[Axis, ...] = option(
        right="a list of axes, the first of which follows from none", min_length=1
    )
    frames_axis: int = option(ge=0, right="the index of an axis")
    variants: Names = option(right=_VARIANTS, min_length=1)
    exact: bool = option(True, right="true or false")
    largest_error: float = option(0.0, ge=0, right="a number, such as 0.02 for 2%")
    profiles: dict[str, tuple[_Profile, ...]] = option(right="lists of metrics by variant, by name")  # type: ignore[valid-type]
    blocks: dict[Name, _Block] = option(right="what checkpointing can run again, by name")
    input_bytes: Terms = option(right=_TERMS)


@dataclass(frozen=True, kw_only=True)
class _Node(Options):
    id: Name = option(right="the name of the layer")
    module_class: Name = option(right="the name of a class", alias="class")
    kind: Literal[KINDS] = option(right="one of " + ", ".join(KINDS))  # type: ignore[valid-type]
    group: Literal[GROUPS] = option(right="one of " + ", ".join(GROUPS))  # type: ignore[valid-type]
    arithmetic: Literal[ARITHMETIC] | None = option(None, right="null or one of " + ", ".join(ARITHMETIC))  # type: ignore[valid-type]
    parameters: int = option(ge=0, le=LARGEST, right=_COUNT)
    tensors: int = option(ge=0, le=LARGEST, right=_COUNT)
    sides: int = option(ge=0, le=LARGEST, right=_COUNT)
    in_table1: bool = option(right="true or false")
    block: Name | None = option(None, right="null or the name of a block")
    profile: str = option(right="the name of a profile")
    inputs: int | None = option(None, ge=1, le=LARGEST, right="null or a whole number from 1 up")
    outputs: int | None = option(None, ge=1, le=LARGEST, right="null or a whole number from 1 up")
    biases: int = option(0, ge=0, le=LARGEST, right=_COUNT)
    shares: Name | None = option(None, right="null or the name of a layer")


@dataclass(frozen=True)
class _Edge(Options):
    source: str = option(right="the name of a layer")
    target: str = option(right="the name of a layer")


@dataclass(frozen=True, kw_only=True)
class _File(Options):
    """A trace as its file states it."""

    directed: bool = option(True, "as networkx writes it")
    multigraph: bool = option(False, "as networkx writes it")
    graph: _Graph = option(description="what all layers share")
    nodes: tuple[_Node, ...] = option(right="a list of layers", min_length=1)
    edges: tuple[_Edge, ...] = option(right="a list of tensors that layers hand on")


def load_trace(name_or_path: str | Path) -> LayerTrace:
    """Read a trace by catalogue name (``wav2vec2-base``) or path, without importing torch.

    A file that still reads as it did gives the same object again, with what was added up from it.

    Raises:
        TraceError: there is no such trace, or the file is not a whole one, in one sentence.
    """
    found = paths.find(str(name_or_path), "traces", ".json")
    if found is None:
        known = ", ".join(paths.names("traces", ".json")) or "none yet"
        right = slashes(name_or_path, f"the catalogue has {known}")
        raise TraceError(f"there is no layer trace {str(name_or_path)!r}; {right}")
    return _parsed(files.read_text(found, TraceError, MOST_BYTES), str(found))


@lru_cache(maxsize=8)
def _parsed(text: str, file: str) -> LayerTrace:
    return parse_trace(files.parse_json(text, file, TraceError), file=file)


def parse_trace(content: Any, file: str = "") -> LayerTrace:
    """A trace from its node-link form.

    Raises:
        TraceError: something is missing or of the wrong kind; the key path says where.
    """
    graph = content.get("graph") if isinstance(content, dict) else None
    form = graph.get("format", FORMAT) if isinstance(graph, dict) else FORMAT
    if form not in FORMATS:
        raise TraceError(
            f"{shown(form)} is not a format known here; fedsim reads {' and '.join(map(str, FORMATS))}",
            file=file or None,
            key="graph.format",
        )
    return _Building(checks.check(_File, content, file=file or None, error=TraceError), file).trace(
        content["graph"]
    )


class _Building:
    """Makes a trace of what a file states, and refuses names and numbers that stand for nothing."""

    def __init__(self, stated: _File, file: str):
        self.nodes, self.edges, self.graph, self.file = stated.nodes, stated.edges, stated.graph, file
        self.names = {node.id for node in stated.nodes}

    def fail(self, message: str, key: str) -> NoReturn:
        raise TraceError(message, file=self.file or None, key=key)

    def trace(self, details: dict[str, Any]) -> LayerTrace:
        graph = self.graph
        for index, axis in enumerate(graph.axes):
            if (axis.of is None and index > 0 and graph.axes[0].name == NO_SIZE) or (
                axis.of is not None and axis.of >= index
            ):
                self.fail("does not follow from an axis before it", f"graph.axes[{index}]")
        if graph.frames_axis >= len(graph.axes):
            said = f"{graph.frames_axis} is not the index of one of {len(graph.axes)} axes"
            self.fail(said, "graph.frames_axis")
        if len(self.names) != len(self.nodes):
            self.fail("two layers have the same id", "nodes")
        profiles = {name: self.profiles(name, entries) for name, entries in graph.profiles.items()}
        blocks = {name: self.block(name, block) for name, block in graph.blocks.items()}
        layers = tuple(self.layer(index, profiles, blocks) for index in range(len(self.nodes)))
        for index, edge in enumerate(self.edges):
            for end, name in (("source", edge.source), ("target", edge.target)):
                self.layer_named(name, f"edges[{index}].{end}")
        sources: dict[str, tuple[str, ...]] = {}
        for edge in self.edges:
            sources[edge.target] = (*sources.get(edge.target, ()), edge.source)
        return LayerTrace(
            name=graph.name,
            parameters=sum(layer.parameters for layer in layers),
            layers=layers,
            blocks=blocks,
            axes=graph.axes,
            frames_axis=graph.frames_axis,
            variants=graph.variants,
            input_bytes=self.polynomial(graph.input_bytes, "graph.input_bytes"),
            details=details,
            file=self.file,
            exact=graph.exact,
            largest_error=graph.largest_error,
            sources=sources,
        )

    def polynomial(self, terms: Terms, key: str) -> Polynomial:
        found: dict[Monomial, int] = {}
        for term in terms:
            whole = len(term) >= 4 and len(term) % 2 == 0
            if not (whole and 0 <= term[1] <= 2 and all(0 <= power <= MOST_POWER for power in term[3::2])):
                self.fail(f"{shown(list(term))} is not {_TERM}", key)
            for axis in term[2::2]:
                if not 0 <= axis < len(self.graph.axes):
                    self.fail(f"axis {axis} does not exist; there are {len(self.graph.axes)}", key)
            found[monomial(term[1], dict(zip(term[2::2], term[3::2], strict=True)))] = term[0]
        return Polynomial(found)

    def profiles(self, name: str, entries: tuple[Any, ...]) -> dict[str, Profile]:
        found: dict[str, Profile] = {}
        for index, entry in enumerate(entries):
            key = f"graph.profiles.{name}[{index}]"
            profile = Profile(
                {m: self.polynomial(terms, f"{key}.{m}") for m in COUNTS if (terms := getattr(entry, m))},
                {
                    m: tuple(self.polynomial(terms, f"{key}.{m}") for terms in several)
                    for m in WORKSPACES
                    if (several := getattr(entry, m))
                },
            )
            for variant in entry.variants:
                if variant not in self.graph.variants or variant in found:
                    said = f"{shown(variant)} is not a variant of this trace, or stands twice"
                    self.fail(said, f"{key}.variants")
                found[variant] = profile
        return found

    def block(self, name: str, block: _Block) -> Block:
        found: dict[str, Checkpoint] = {}
        for index, entry in enumerate(block.checkpointed):
            key = f"graph.blocks.{name}.checkpointed[{index}]"
            lengths = {m: self.polynomial(getattr(entry, m), f"{key}.{m}") for m in _LENGTHS}
            self.layer_named(entry.last, f"{key}.last")
            found |= dict.fromkeys(entry.variants, Checkpoint(last=entry.last, **lengths))
        for variant in self.graph.variants:
            if "@" not in variant and variant not in found:
                self.fail(f"says nothing of {variant}", f"graph.blocks.{name}.checkpointed")
        return Block(name, block.stack, found)

    def layer(self, index: int, profiles: dict[str, Any], blocks: dict[str, Block]) -> Layer:
        node = self.nodes[index]
        if node.profile not in profiles:
            self.fail(f"{shown(node.profile)} is not in graph.profiles", f"nodes[{index}].profile")
        if node.block is not None and node.block not in blocks:
            self.fail(f"{shown(node.block)} is not in graph.blocks", f"nodes[{index}].block")
        if node.shares is not None:
            self.layer_named(node.shares, f"nodes[{index}].shares")
        return Layer(
            name=node.id,
            module_class=node.module_class,
            kind=node.kind,
            group=node.group,
            arithmetic=node.arithmetic,
            parameters=node.parameters,
            tensors=node.tensors,
            sides=node.sides,
            in_table1=node.in_table1,
            block=node.block,
            profiles=profiles[node.profile],
            inputs=node.inputs,
            outputs=node.outputs,
            biases=node.biases,
            shares=node.shares,
        )

    def layer_named(self, name: str, key: str) -> None:
        if name not in self.names:
            self.fail(f"{shown(name)} is not a layer", key)
