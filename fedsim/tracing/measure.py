"""Measure a model in one variant at the batches and sizes of a plan, and fit what each layer costs.

Of layers that are alike few are traced (see repeats.py, and assemble.py for how they are multiplied again).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import torch
from transformers.pytorch_utils import Conv1D

from fedsim.errors import TraceError
from fedsim.pricing.layers import COUNTS, WORKSPACES
from fedsim.pricing.polynomial import Axis, Polynomial, largest, powers
from fedsim.tracing.axes import Sizes
from fedsim.tracing.interpolation import FitError, Point, fit
from fedsim.tracing.layers import Identity, Key, identify, keyed
from fedsim.tracing.plan import INPUTS, Plan, Run
from fedsim.tracing.recorder import Layer, Recorder
from fedsim.tracing.repeats import Stacks
from fedsim.tracing.step import Step, Variant
from fedsim.tracing.subject import Subject


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
class Weights:
    """A layer's own parameters.

    ``sides`` counts the rows and columns of those that are matrices, ``biases`` the numbers in those called
    bias; ``inputs`` and ``outputs`` are those of a linear layer, None of others.
    """

    parameters: int = 0
    tensors: int = 0
    sides: int = 0
    biases: int = 0
    inputs: int | None = None
    outputs: int | None = None

    def add(self, name: str, parameter: torch.Tensor) -> None:
        """Count one more."""
        shape = parameter.shape
        self.parameters += parameter.numel()
        self.tensors += 1
        self.sides += sum(shape[-2:]) * prod(shape[:-2]) if len(shape) > 1 else parameter.numel()
        self.biases += parameter.numel() if name == "bias" and len(shape) == 1 else 0


@dataclass
class Measurement:
    """A model with few of the layers that are alike, fitted; layers are in the order of the forward pass.

    ``tables`` has an entry for every variant, and one ending in ``@1`` where a batch of 1 is special.
    """

    axes: tuple[Axis, ...]
    prefix: str
    stacks: Stacks
    kinds: dict[str, str]
    """Of the blocks."""
    tables: dict[str, dict[Key, Measured]] = field(default_factory=dict)
    identities: dict[Key, Identity] = field(default_factory=dict)
    arithmetic: dict[Key, str] = field(default_factory=dict)
    order: list[Key] = field(default_factory=list)
    edges: dict[tuple[Key, Key], None] = field(default_factory=dict)
    blocks: dict[str, dict[str, BlockMeasured]] = field(default_factory=dict)
    weights: dict[Key, Weights] = field(default_factory=dict)
    shares: dict[Key, Key] = field(default_factory=dict)
    """Layers whose weights need what an earlier layer is charged with, and that layer."""
    input_bytes: Polynomial = field(default_factory=Polynomial)
    exact: bool = True
    largest_error: float = 0.0

    @property
    def main_axis(self) -> int:
        """The axis on which most layers' arithmetic depends."""
        votes = [0] * len(self.axes)
        for measured in next(iter(self.tables.values())).values():
            for axis in {axis for m in measured.counts["forward_flops"].terms for axis, _ in powers(m)}:
                votes[axis] += 1
        return votes.index(max(votes))


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
        whole.shares = part.shares | whole.shares
        whole.blocks = {b: whole.blocks[b] | part.blocks[b] for b in whole.blocks}
        whole.exact = whole.exact and part.exact
        whole.largest_error = max(whole.largest_error, part.largest_error)
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


def measure(subject: Subject, variant: Variant, plan: Plan) -> tuple[Measurement, Step]:
    """Trace and fit a subject in one variant.

    Where some counts are no polynomials, the nearest are taken and the measurement is not ``exact``.

    Raises:
        TraceError: what the model does changes with the batch or the size.
    """
    step = Step(subject, variant, plan.short)
    found = Measurement(
        tuple(plan.lengths.axes), str(step.model.base_model_prefix), step.stacks, dict(step.blocks)
    )
    recorded: dict[Run, Recorder] = {}
    for runs, nearest in ((plan.runs, False), (plan.runs + plan.more, False), (plan.runs + plan.more, True)):
        for run in runs:
            if run not in recorded:
                recorded[run] = step.record(run[0], *run[1], quickly=plan.quickly)
        try:
            _fit_all(found, variant, plan, recorded, nearest)
        except FitError:
            continue
        found.exact = plan.alike and not nearest
        break
    _learn(found, recorded[plan.runs[0]])
    _measure_single(found, step, plan)
    return found, step


def _fit_all(
    found: Measurement, variant: Variant, plan: Plan, recorded: dict[Run, Recorder], nearest: bool
) -> None:
    """Fit layers, what checkpointing keeps of blocks, and the bytes of a batch."""
    recorders = list(recorded.values())
    points = [plan.point(run) for run in recorded]
    tables = [table(r.layers) for r in recorders]
    found.tables[str(variant)] = _fit(tables, points, plan, batched=True, nearest=nearest)
    keys = list(keyed(recorders[0].layers))
    for name, block in recorders[0].blocks.items():
        members = [key for key in keys[block.first : block.last + 1] if key in plan.bases]
        own = {m for key in members for m in plan.bases[key][1]}
        candidates = [*(plan.bases[members[0]] if members else ()), tuple(sorted(own)), plan.everywhere]
        numbers = fit(points, [r.blocks[name].numbers() for r in recorders], candidates, nearest)
        last = block.last
        while recorders[0].layers[last].idle:
            last -= 1
        found.blocks.setdefault(name, {})[str(variant)] = BlockMeasured(keys[last], *numbers)
    inputs = [[r.input_bytes] for r in recorders]
    (found.input_bytes,) = fit(points, inputs, plan.candidates(INPUTS), nearest)


def _measure_single(found: Measurement, step: Step, plan: Plan) -> None:
    """Fit a batch of 1 too, where it does not do what larger ones do."""
    variant = str(step.variant)
    alone: dict[Sizes, dict[Key, dict[str, Any]]] = {}
    for runs in (plan.runs, plan.runs + plan.more):
        for _, sizes in runs:
            if sizes not in alone:
                try:
                    alone[sizes] = table(step.trace(1, *sizes, quickly=plan.quickly))
                except ValueError:  # a batch norm has nothing to normalise in a batch of 1
                    return
            point = plan.point((1, sizes))
            if len(alone) == 1 and _explained(alone[sizes], found.tables[variant], point):
                return
        points = [plan.point((1, sizes)) for sizes in alone]
        try:
            found.tables[f"{variant}@1"] = _fit(list(alone.values()), points, plan, batched=False)
        except FitError:
            continue
        return
    found.tables[f"{variant}@1"] = _fit(list(alone.values()), points, plan, batched=False, nearest=True)
    found.exact = False


def _fit(
    rows: list[dict[Key, dict[str, Any]]],
    points: list[Point],
    plan: Plan,
    batched: bool,
    nearest: bool = False,
) -> dict[Key, Measured]:
    keys = list(rows[0])
    if any(_form(r) != _form(rows[0]) for r in rows):
        raise TraceError("what the model does, not only how much of it, changes with the batch or the size")
    found: dict[Key, Measured] = {}
    for key in keys:
        flat = [[row[key][m] for m in COUNTS] + [x for m in WORKSPACES for x in row[key][m]] for row in rows]
        fitted = fit(points, flat, plan.candidates(key, batched), nearest)
        start = len(COUNTS)
        workspaces = {}
        for metric in WORKSPACES:
            end = start + len(rows[0][key][metric])
            workspaces[metric] = largest(fitted[start:end])
            start = end
        found[key] = Measured(dict(zip(COUNTS, fitted, strict=False)), workspaces)
    return found


def _form(rows: dict[Key, dict[str, Any]]) -> list[tuple[Key, int, int]]:
    """The layers that do something, and how many operators of each were seen in either pass."""
    forward, backward = WORKSPACES
    return [(key, len(row[forward]), len(row[backward])) for key, row in rows.items()]


def _explained(rows: dict[Key, dict[str, Any]], fitted: dict[Key, Measured], point: Point) -> bool:
    """Whether the fitted polynomials give exactly these numbers at the point."""
    if list(rows) != list(fitted):
        return False
    batch, axes = point
    for key, row in rows.items():
        measured = fitted[key]
        if any(measured.counts[m].at(batch, axes) != row[m] for m in COUNTS):
            return False
        for m in WORKSPACES:
            best = max((p.at(batch, axes) for p in measured.workspaces[m]), default=0)
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
        if layer.shares is not None:
            found.shares[key] = keys[layer.shares]
    for name, parameter in recorder.model.named_parameters():
        path, _, last = name.rpartition(".")
        weights = found.weights.setdefault(_owner(path, found.order), Weights())
        weights.add(last, parameter)
        module = recorder.model.get_submodule(path)
        if isinstance(module, torch.nn.Linear | Conv1D):
            sides = module.weight.shape
            outputs, inputs = sides if isinstance(module, torch.nn.Linear) else sides[::-1]
            weights.inputs, weights.outputs = int(inputs), int(outputs)


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
