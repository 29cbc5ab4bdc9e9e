"""From fitted layers to the node-link form of a layer trace, at the model's full depth.

A model was measured with few of the layers that are alike (see repeats.py); here each stands for as
many as it has to.
"""

from __future__ import annotations

from dataclasses import fields
from itertools import groupby
from typing import Any

import networkx
import torch
import transformers

from fedsim.pricing.layers import FORMAT
from fedsim.pricing.polynomial import Axis
from fedsim.tracing.layers import Key
from fedsim.tracing.measure import BlockMeasured, Measurement, Weights
from fedsim.tracing.repeats import Stacks, place

Place = tuple[Key, int]
"""A measured layer, and the number in its list of the one that it stands for (-1 if it is in no list)."""


def assemble(found: Measurement, name: str, details: dict[str, Any]) -> dict[str, Any]:
    """The content of a trace file.

    Args:
        found: the measured model.
        name: of the trace.
        details: what else to keep in ``graph``, such as the configuration.
    """
    shown = _Names(found)
    places = _deep_order(found)
    profiles: dict[str, list[dict[str, Any]]] = {}
    by_content: dict[str, str] = {}
    graph: networkx.DiGraph[str] = networkx.DiGraph(
        format=FORMAT,
        name=name,
        **details,
        torch=torch.__version__.split("+")[0],
        transformers=transformers.__version__,
        axes=[_axis(axis) for axis in found.axes],
        frames_axis=found.main_axis,
        exact=found.exact,
        largest_error=found.largest_error,
        variants=list(found.tables),
        input_bytes=found.input_bytes.to_json(),
        blocks=_blocks(found, shown),
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
        weights = vars(found.weights.get(key, Weights()))
        node = {
            "id": layer,
            "class": identity.module_class,
            "kind": identity.kind,
            "arithmetic": found.arithmetic.get(key),
            "group": identity.group,
            "in_table1": identity.in_table1,
            "block": shown.block(key, index),
            "parameters": weights["parameters"],
            "tensors": weights["tensors"],
            "sides": weights["sides"],
            "profile": by_content[text],
            **{name: n for name in ("inputs", "outputs", "biases") if (n := weights[name])},
            **_shared(found, shown, key, index),
        }
        graph.add_node(layer, **node)
    graph.add_edges_from(
        (shown.name(*source), shown.name(*target)) for source, target in _deep_edges(found, places)
    )
    content: dict[str, Any] = networkx.node_link_data(graph, edges="edges")
    return content


def _shared(found: Measurement, shown: _Names, key: Key, index: int) -> dict[str, str]:
    """The layer that is charged with what this one's weights need too; none that is in another copy."""
    other = found.shares.get(key)
    if other is None:
        return {}
    here, there = place(key[0], found.stacks), place(other[0], found.stacks)
    if there is not None and (here is None or here[:2] != there[:2]):
        return {}
    return {"shares": shown.name(other, index if there else -1)}


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
        return self.strip(_renamed(key[0], index, self.found.stacks))

    def name(self, key: Key, index: int) -> str:
        label = self.found.identities[key].label
        name = ".".join(part for part in (self.module(key, index), label) if part)
        return name + (f"_{self.rank[key]}" if self.rank[key] > 1 else "")

    def block(self, key: Key, index: int) -> str | None:
        for block in self.found.blocks:
            if key[0] == block or key[0].startswith(f"{block}."):
                return self.strip(_renamed(block, index, self.found.stacks))
        return None


def _renamed(module: str, index: int, stacks: Stacks) -> str:
    """A module's path in the whole model, in the layer of that number of its list."""
    where = place(module, stacks)
    return f"{where[0]}.{index}{where[2]}" if where else module


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


def _copies(module: str, stacks: Stacks) -> tuple[int, ...]:
    """The layers of its list, in the whole model, for which a measured module stands."""
    where = place(module, stacks)
    return stacks[where[0]][where[1]] if where else (-1,)


def _deep_order(found: Measurement) -> list[Place]:
    places: list[Place] = []
    for _, together in groupby(found.order, key=lambda key: (place(key[0], found.stacks) or key)[:2]):
        keys = list(together)
        places += [(key, copy) for copy in _copies(keys[0][0], found.stacks) for key in keys]
    return places


def _deep_edges(found: Measurement, places: list[Place]) -> list[tuple[Place, Place]]:
    """Tensors that layers hand on: within each copy, from one copy to the next, in and out of a list."""
    edges: dict[tuple[Place, Place], None] = {}
    for source, target in found.edges:
        sources, targets = _copies(source[0], found.stacks), _copies(target[0], found.stacks)
        here, there = place(source[0], found.stacks), place(target[0], found.stacks)
        if here is None or there is None or here[0] != there[0]:
            pairs = [(s, t) for s in sources for t in targets]
        elif here[1] == there[1]:
            pairs = [(s, s) for s in sources]
        elif len(targets) > 1:
            every = (source, _shifted(target, 1, found)) in found.edges
            pairs = [(sources[-1], t) for t in (targets if every else targets[:1])]
        elif len(sources) > 1 and there[1] == here[1] + 1:
            inside = _shifted(target, -1, found)
            edges |= {((source, s), (inside, s + 1)): None for s in sources[:-1]}
            pairs = [(sources[-1], targets[0])]
        else:
            pairs = [(s, targets[0]) for s in sources]
        edges |= {((source, s), (target, t)): None for s, t in pairs}
    order = {at: i for i, at in enumerate(places)}
    return sorted(edges, key=lambda edge: (order[edge[0]], order[edge[1]]))


def _shifted(key: Key, by: int, found: Measurement) -> Key:
    """The same layer in the next measured layer of its list, or another."""
    where = place(key[0], found.stacks)
    assert where is not None
    return f"{where[0]}.{where[1] + by}{where[2]}", key[1]


def _blocks(found: Measurement, shown: _Names) -> dict[str, Any]:
    blocks = {}
    for block, measured in found.blocks.items():
        for copy in _copies(block, found.stacks):
            blocks[shown.strip(_renamed(block, copy, found.stacks))] = {
                "stack": found.kinds[block],
                "checkpointed": _by_variant(measured, shown, block, copy),
            }
    return blocks


def _by_variant(
    measured: dict[str, BlockMeasured], shown: _Names, name: str, index: int
) -> list[dict[str, Any]]:
    stacks = shown.found.stacks
    inside = place(name, stacks) is not None
    groups: dict[BlockMeasured, list[str]] = {}
    for variant, block in measured.items():
        groups.setdefault(block, []).append(variant)
    return [
        {
            "variants": variants,
            "last": shown.name(block.last, index if inside else _copies(block.last[0], stacks)[-1]),
            **{f.name: getattr(block, f.name).to_json() for f in fields(block) if f.name != "last"},
        }
        for block, variants in groups.items()
    ]
