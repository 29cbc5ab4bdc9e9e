"""Measure a model in one variant at a few points, and fit what each layer costs.

Transformer layers between the first and the last cost the same, so a model is traced with at most
three of them (see assemble.py for how they are multiplied again).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

from fedsim.errors import FedsimError
from fedsim.pricing.layers import COUNTS, WORKSPACES
from fedsim.pricing.polynomial import Axis, Polynomial, largest, lengths
from fedsim.tracing.interpolation import Point, fit, monomials
from fedsim.tracing.layers import Identity, Key, identify, keyed
from fedsim.tracing.recorder import Layer, Recorder
from fedsim.tracing.step import Step, Variant
from fedsim.tracing.subject import Subject

SHALLOW = 3


@dataclass(frozen=True)
class Measured:
    """What one layer costs in one variant: counts by metric, and candidates for its workspaces."""

    counts: dict[str, Polynomial]
    workspaces: dict[str, tuple[Polynomial, ...]]

    def to_json(self) -> dict[str, Any]:
        """Metrics that are not zero, in their stored form."""
        content: dict[str, Any] = {m: p.to_json() for m, p in self.counts.items() if p.terms}
        content |= {m: sorted(p.to_json() for p in ps) for m, ps in self.workspaces.items() if ps}
        return content


@dataclass(frozen=True)
class BlockMeasured:
    """What checkpointing a block keeps and runs again, in one variant (see pricing/trace.py)."""

    last: Key
    input_bytes: Polynomial
    kept_bytes: Polynomial
    tail_launches: Polynomial
    tail_operand_bytes: Polynomial
    tail_stream_bytes: Polynomial


@dataclass
class Measurement:
    """A model with few transformer layers, fitted; layers are in the order of the forward pass.

    ``tables`` has an entry for every variant, and one ending in ``@1`` where a batch of 1 is special.
    """

    axes: tuple[Axis, ...]
    depth: int
    prefix: str
    last: int
    tables: dict[str, dict[Key, Measured]] = field(default_factory=dict)
    identities: dict[Key, Identity] = field(default_factory=dict)
    arithmetic: dict[Key, str] = field(default_factory=dict)
    order: list[Key] = field(default_factory=list)
    edges: dict[tuple[Key, Key], None] = field(default_factory=dict)
    blocks: dict[str, dict[str, BlockMeasured]] = field(default_factory=dict)
    parameters: dict[Key, tuple[int, int, int]] = field(default_factory=dict)
    """By layer: numbers in its parameters, tensors, and numbers in their rows and columns."""
    input_bytes: Polynomial = field(default_factory=Polynomial)

    def point(self, batch: int, samples: int) -> Point:
        """A batch, and the length of every axis."""
        return batch, tuple(int(n) for n in lengths(self.axes, samples))


def merge(parts: Sequence[Measurement]) -> Measurement:
    """One measurement of all the variants; every part is of the same model."""
    first = parts[0]
    whole = replace(first, order=list(first.order))
    for part in parts[1:]:
        for before, key in zip([None, *part.order], part.order, strict=False):
            if key not in whole.order:
                whole.order.insert(whole.order.index(before) + 1 if before else 0, key)
        whole.tables = whole.tables | part.tables
        whole.identities = part.identities | whole.identities
        whole.arithmetic = part.arithmetic | whole.arithmetic
        whole.edges = whole.edges | part.edges
        whole.blocks = {b: whole.blocks[b] | part.blocks[b] for b in whole.blocks}
    return whole


def table(layers: list[Layer]) -> dict[Key, dict[str, Any]]:
    """The metrics of every layer that does something, from one recorded step, as plain numbers.

    Workspaces are lists: what is alive at each operator beyond what is held from this layer and
    those before it.
    """
    rows: dict[Key, dict[str, Any]] = {}
    held = cached = 0
    for key, layer in keyed(layers).items():
        held += layer.saved_bytes
        cached += layer.cached_bytes
        if not layer.idle:
            row: dict[str, Any] = {metric: getattr(layer, metric) for metric in COUNTS}
            row["forward_workspace_bytes"] = [live - held - cached for live in layer.forward_live_bytes]
            row["backward_workspace_bytes"] = [live - held for live in layer.backward_live_bytes]
            rows[key] = row
    return rows


def measure(subject: Subject, variant: Variant) -> tuple[Measurement, Step]:
    """Trace and fit a subject with at most :data:`SHALLOW` of its layers that are alike.

    Raises:
        FitError: a count is not polynomial in batch and sizes.
    """
    depth = min(subject.depth, SHALLOW)
    step = Step(subject, variant, depth)
    found = Measurement(subject.axes, depth, str(step.model.base_model_prefix), subject.last)
    samples = subject.sizes()
    where = [*((2, s) for s in samples), *((3, s) for s in samples[:-1])]
    points = [found.point(b, s) for b, s in where]
    recorders = [step.record(b, s, quickly=subject.quick) for b, s in where]
    _learn(found, recorders[0])
    fitted = _fit([table(r.layers) for r in recorders], points, subject, batched=True)
    found.tables[str(variant)] = fitted
    blocks = list(recorders[0].blocks)
    inputs = fit(
        points,
        [[x for b in blocks for x in r.blocks[b].numbers()] + [r.input_bytes] for r in recorders],
        [
            *subject.candidates("", True)[:1],
            *(monomials({a: 1}) for a in range(found.last + 1)),
            monomials({0: 1, found.last: 1}),
        ],
    )
    keys = list(keyed(recorders[0].layers))
    for index, block in enumerate(blocks):
        last = recorders[0].blocks[block].last
        while recorders[0].layers[last].idle:
            last -= 1
        numbers = inputs[5 * index : 5 * index + 5]
        found.blocks[block] = {str(variant): BlockMeasured(keys[last], *numbers)}
    found.input_bytes = inputs[-1]
    try:
        single = table(step.trace(1, samples[0], quickly=subject.quick))
    except ValueError:  # a batch norm has nothing to normalise in a batch of 1
        return found, step
    if not _explained(single, fitted, found.point(1, samples[0])):
        alone = [single, *(table(step.trace(1, s, quickly=subject.quick)) for s in samples[1:])]
        points = [found.point(1, s) for s in samples]
        found.tables[f"{variant}@1"] = _fit(alone, points, subject, batched=False)
    return found, step


def _fit(
    rows: list[dict[Key, dict[str, Any]]], points: list[Point], subject: Subject, batched: bool
) -> dict[Key, Measured]:
    keys = list(rows[0])
    if any(list(r) != keys for r in rows):
        raise FedsimError("the layers that do something change with the batch or the length")
    found: dict[Key, Measured] = {}
    for key in keys:
        flat = [[row[key][m] for m in COUNTS] + [x for m in WORKSPACES for x in row[key][m]] for row in rows]
        fitted = fit(points, flat, subject.candidates(key[0], batched))
        start = len(COUNTS)
        workspaces = {}
        for metric in WORKSPACES:
            end = start + len(rows[0][key][metric])
            workspaces[metric] = largest(fitted[start:end])
            start = end
        found[key] = Measured(dict(zip(COUNTS, fitted, strict=False)), workspaces)
    return found


def _explained(rows: dict[Key, dict[str, Any]], fitted: dict[Key, Measured], point: Point) -> bool:
    """Whether the fitted polynomials give exactly these numbers at the point."""
    if list(rows) != list(fitted):
        return False
    batch, axes = point
    for key, row in rows.items():
        measured = fitted[key]
        if any(measured.counts[m](batch, axes) != row[m] for m in COUNTS):
            return False
        for m in WORKSPACES:
            best = max((int(p(batch, axes)) for p in measured.workspaces[m]), default=0)
            if best != max(row[m], default=0):
                return False
    return True


def _learn(found: Measurement, recorder: Recorder) -> None:
    """Names, order, edges and parameters, from one traced step."""
    layers = keyed(recorder.layers)
    keys = list(layers)
    for key, layer in layers.items():
        if layer.idle:
            continue
        found.identities[key] = identify(layer)
        found.order.append(key)
        if layer.arithmetic:
            found.arithmetic[key] = layer.arithmetic
        for source in layer.reads_from:
            if not layers[keys[source]].idle:
                found.edges[keys[source], key] = None
    for name, parameter in recorder.model.named_parameters():
        owner = _owner(name.rpartition(".")[0], found.order)
        size, tensors, factored = found.parameters.get(owner, (0, 0, 0))
        shape = parameter.shape
        sides = sum(shape[-2:]) * prod(shape[:-2]) if len(shape) > 1 else parameter.numel()
        found.parameters[owner] = (size + parameter.numel(), tensors + 1, factored + sides)


def _owner(module: str, order: list[Key]) -> Key:
    """The layer that a module's own parameters are charged to."""
    while True:
        for key in order:
            if key[0] == module:
                return key
        for key in order:
            if key[0].startswith(f"{module}.") or not module:
                return key
        module = module.rpartition(".")[0]
