"""Layer traces from their files: everything that is missing or malformed is one sentence.

A trace is plain JSON, so reading one imports neither torch nor networkx.
"""

from __future__ import annotations

from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from fedsim import files, paths
from fedsim.errors import CONTROL, TraceError
from fedsim.pricing.layers import (
    ARITHMETIC,
    COUNTS,
    FORMAT,
    GROUPS,
    KINDS,
    WORKSPACES,
    Block,
    Checkpoint,
    Layer,
    LayerTrace,
    Profile,
)
from fedsim.pricing.polynomial import Axis, Polynomial

MOST_BYTES = 8 * files.MB  # twenty times the largest of the catalogue

LARGEST = (
    10**12
)  # of parameters and coefficients: a thousand times those of the largest model of the catalogue
LARGEST_AXIS = 10**6

__all__ = ["Layer", "LayerTrace", "load_trace", "parse_trace"]


def load_trace(name_or_path: str | Path) -> LayerTrace:
    """Read a trace by catalogue name (``wav2vec2-base``) or path, without importing torch.

    A file that still reads as it did gives the same object again, with what was added up from it.

    Raises:
        TraceError: there is no such trace, or the file is not a whole one, in one sentence.
    """
    found = paths.find(str(name_or_path), "traces", ".json")
    if found is None:
        known = ", ".join(paths.names("traces", ".json")) or "none yet"
        raise TraceError(f"there is no layer trace {str(name_or_path)!r}; the catalogue has {known}")
    return _parsed(files.read_text(found, TraceError, MOST_BYTES), str(found))


@lru_cache(maxsize=8)
def _parsed(text: str, file: str) -> LayerTrace:
    return parse_trace(files.parse_json(text, file, TraceError), file=file)


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
    names = {layer.name for layer in layers}
    reader.edges(content, names)
    for block in blocks.values():
        for checkpoint in block.checkpointed.values():
            if checkpoint.last not in names:
                reader.fail(
                    f"{checkpoint.last!r:.60} is not a layer", f"graph.blocks.{block.name}.checkpointed"
                )
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
        if kind is str and CONTROL.search(value):
            self.fail(f"{value!r:.60} holds a control character", full)
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
                or not 0 <= value <= LARGEST_AXIS
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
            if abs(coefficient) > LARGEST:
                self.fail(f"{term!r:.60} has a coefficient beyond {LARGEST:.0e}", path)
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
            names = self.get(entry, "variants", list, at)
            if not all(isinstance(name, str) for name in names):
                self.fail("is not a list of names", f"{at}.variants")
            found |= dict.fromkeys(names, checkpoint)
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
            if not 0 <= value <= LARGEST:
                self.fail(f"{value} is not from 0 to {LARGEST:.0e}", f"{path}.{key}")
        block, arithmetic = node.get("block"), node.get("arithmetic")
        if block is not None and (not isinstance(block, str) or block not in blocks):
            self.fail(f"{block!r:.60} is not in graph.blocks", f"{path}.block")
        if arithmetic is not None:
            self.choice(node, "arithmetic", ARITHMETIC, path)
        return Layer(
            name=self.get(node, "id", str, path),
            module_class=self.get(node, "class", str, path),
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
