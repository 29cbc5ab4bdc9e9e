"""From fitted layers to the node-link form of a layer trace, at the model's full depth.

A model was measured with few transformer layers: the first and the last stand for themselves, the
one before the last for all between.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import networkx
import torch
import transformers

from fedsim.pricing.layers import FORMAT
from fedsim.pricing.polynomial import Axis
from fedsim.tracing.layers import Key, repeated
from fedsim.tracing.measure import BlockMeasured, Measurement

Place = tuple[Key, int]
"""A measured layer, and the transformer layer that it stands for (-1 outside of them)."""


def assemble(found: Measurement, depth: int, name: str, details: dict[str, Any]) -> dict[str, Any]:
    """The content of a trace file.

    Args:
        found: the measured model.
        depth: transformer layers of the whole model.
        name: of the trace.
        details: what else to keep in ``graph``, such as the configuration.
    """
    shown = _Names(found)
    places = _deep_order(found, depth)
    profiles: dict[str, list[dict[str, Any]]] = {}
    by_content: dict[str, str] = {}
    graph: networkx.DiGraph[str] = networkx.DiGraph(
        format=FORMAT,
        name=name,
        **details,
        torch=torch.__version__.split("+")[0],
        transformers=transformers.__version__,
        axes=[_axis(axis) for axis in found.axes],
        frames_axis=found.last,
        variants=list(found.tables),
        input_bytes=found.input_bytes.to_json(),
        blocks=_blocks(found, depth, shown),
        profiles=profiles,
    )
    for key, index in places:
        layer = shown.name(key, index)
        entries = _profile(found, key)
        text = repr(entries)
        if text not in by_content:
            by_content[text] = layer
            profiles[layer] = entries
        identity = found.identities[key]
        counts = zip(("parameters", "tensors", "sides"), found.parameters.get(key, (0, 0, 0)), strict=True)
        node = {
            "id": layer,
            "class": identity.module_class,
            "kind": identity.kind,
            "arithmetic": found.arithmetic.get(key),
            "group": identity.group,
            "in_table1": identity.in_table1,
            "block": shown.block(key, index),
            **dict(counts),
            "profile": by_content[text],
        }
        graph.add_node(layer, **node)
    graph.add_edges_from(
        (shown.name(*source), shown.name(*target)) for source, target in _deep_edges(found, depth, places)
    )
    content: dict[str, Any] = networkx.node_link_data(graph, edges="edges")
    return content


class _Names:
    """Names of layers and blocks, as in the model, its base's prefix left out."""

    def __init__(self, found: Measurement):
        self.prefix = found.prefix
        self.found = found
        self.rank: dict[Key, int] = {}
        count: dict[str, int] = {}
        for key in found.order:
            count[key[0]] = count.get(key[0], 0) + 1
            self.rank[key] = count[key[0]]

    def strip(self, module: str) -> str:
        return "" if module == self.prefix else module.removeprefix(f"{self.prefix}.")

    def module(self, key: Key, index: int) -> str:
        place = repeated(key[0])
        return self.strip(f"{place[0]}.{index}{place[2]}" if place else key[0])

    def name(self, key: Key, index: int) -> str:
        label = self.found.identities[key].label
        name = ".".join(part for part in (self.module(key, index), label) if part)
        return name + (f"_{self.rank[key]}" if self.rank[key] > 1 else "")

    def block(self, key: Key, index: int) -> str | None:
        for block in self.found.blocks:
            if key[0] == block or key[0].startswith(f"{block}."):
                place = repeated(block)
                return self.strip(f"{place[0]}.{index}" if place else block)
        return None


def _axis(axis: Axis) -> dict[str, Any]:
    if axis.of is None:
        return {"name": axis.name}
    if axis.multiple:
        return {"name": axis.name, "of": axis.of, "multiple": axis.multiple}
    return {"name": axis.name, "of": axis.of, "kernel": axis.kernel, "stride": axis.stride}


def _profile(found: Measurement, key: Key) -> list[dict[str, Any]]:
    """The metrics of a layer, variants with equal ones together."""
    groups: dict[str, tuple[list[str], dict[str, Any]]] = {}
    for variant, measured in found.tables.items():
        if key in measured:
            entry = measured[key].to_json()
            groups.setdefault(repr(entry), ([], entry))[0].append(variant)
    return [{"variants": variants, **entry} for variants, entry in groups.values()]


def _copies(index: int, shallow: int, depth: int) -> list[int]:
    """The transformer layers of the whole model for which a measured one stands."""
    if index < 0 or shallow == depth or index < shallow - 2:
        return [index]
    return [depth - 1] if index == shallow - 1 else list(range(index, depth - 1))


def _index(key: Key) -> int:
    place = repeated(key[0])
    return place[1] if place else -1


def _deep_order(found: Measurement, depth: int) -> list[Place]:
    places: list[Place] = []
    waiting: list[Key] = []
    for key in [*found.order, None]:
        if waiting and (key is None or _index(key) != _index(waiting[0])):
            for copy in _copies(_index(waiting[0]), found.depth, depth):
                places += [(k, copy) for k in waiting]
            waiting = []
        if key is not None:
            waiting.append(key)
    return places


def _deep_edges(found: Measurement, depth: int, places: list[Place]) -> list[tuple[Place, Place]]:
    edges: dict[tuple[Place, Place], None] = {}
    shallow = found.depth
    for source, target in found.edges:
        s, t = _index(source), _index(target)
        if s == t or s < 0 or t < 0:
            for copy in _copies(max(s, t), shallow, depth):
                if s < 0 or t < 0 or s == t:
                    edges[(source, copy if s >= 0 else -1), (target, copy if t >= 0 else -1)] = None
        elif shallow == depth:
            edges[(source, s), (target, t)] = None
        elif t == s + 1 == shallow - 1:
            for copy in range(s, depth - 1):
                goal = target if copy + 1 == depth - 1 else _shifted(target, -1, found)
                edges[(source, copy), (goal, copy + 1)] = None
        elif t == shallow - 1:
            edges[(source, s), (target, depth - 1)] = None
        elif (source, _shifted(target, 1, found)) in found.edges:
            for copy in _copies(t, shallow, depth):
                edges[(source, s), (target, copy)] = None
        else:
            edges[(source, s), (target, t)] = None
    order = {place: i for i, place in enumerate(places)}
    return sorted(edges, key=lambda edge: (order[edge[0]], order[edge[1]]))


def _shifted(key: Key, by: int, found: Measurement) -> Key:
    """The same layer in another measured transformer layer."""
    place = repeated(key[0])
    assert place is not None
    return f"{place[0]}.{place[1] + by}{place[2]}", key[1]


def _blocks(found: Measurement, depth: int, shown: _Names) -> dict[str, Any]:
    blocks = {}
    for block, measured in found.blocks.items():
        place = repeated(block)
        copies = _copies(place[1], found.depth, depth) if place else [-1]
        for copy in copies:
            name = shown.strip(f"{place[0]}.{copy}" if place else block)
            blocks[name] = {
                "stack": "transformer" if place else "cnn",
                "checkpointed": _by_variant(measured, shown, copy),
            }
    return blocks


def _by_variant(measured: dict[str, BlockMeasured], shown: _Names, index: int) -> list[dict[str, Any]]:
    groups: dict[BlockMeasured, list[str]] = {}
    for variant, block in measured.items():
        groups.setdefault(block, []).append(variant)
    return [
        {
            "variants": variants,
            "last": shown.name(block.last, index),
            **{f.name: getattr(block, f.name).to_json() for f in fields(block) if f.name != "last"},
        }
        for block, variants in groups.items()
    ]
