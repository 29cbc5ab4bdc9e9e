"""One training step as a sequence of moments: what is computed, and what is alive when.

A layer trace tells what each layer does when everything is stored. From it follow, without another
trace, the techniques that change what is stored:

- **Gradient checkpointing** (transformers' own, non-reentrant): a checkpointed block keeps its
  input only; when the backward pass reaches it, its forward pass runs again until the last tensor
  is saved, and its tensors live from then until they are used.
- **Frozen CNN encoder**: its layers keep nothing and have no backward pass.

A moment is a candidate for the peak: bytes saved, workspace beyond them, and gradients already
there. The largest moment of forward, backward and optimizer step is the footprint.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fedsim.pricing.layers import Block, Checkpoint, Layer, LayerTrace, Profile
from fedsim.pricing.polynomial import Polynomial
from fedsim.pricing.technique import Technique, TechniqueError
from fedsim.pricing.trained import Everything, FrozenCNN

ZERO = Polynomial()
GRADIENT_BYTES = 4
"""Gradients and weights are fp32, autocast or not."""


@dataclass(frozen=True)
class Closeup:
    """What is alive at one moment; ``gradient_bytes`` counts finished gradients of parameters."""

    phase: str
    layer: str
    saved: Polynomial
    workspace: Polynomial
    gradient_bytes: float

    @property
    def total(self) -> Polynomial:
        """Everything that depends on the moment."""
        return Polynomial.total((self.saved, self.workspace, Polynomial.constant(self.gradient_bytes)))


@dataclass(frozen=True)
class Pass:
    """A layer that runs: its profile, forward (first or again) or backward."""

    layer: Layer
    profile: Profile
    backward: bool
    again: bool = False


@dataclass(frozen=True)
class Timeline:
    """A step on one micro-batch: layers that run, and moments that may be the peak.

    ``tails`` belong to blocks that run again: what of their forward pass does not.
    """

    passes: tuple[Pass, ...]
    tails: tuple[Checkpoint, ...]
    moments: tuple[Closeup, ...]
    saved: Polynomial


def checkpointed(block: Block | None, technique: Technique) -> bool:
    """Whether a block is recomputed under the technique."""
    if block is None or (block.stack == "cnn" and isinstance(technique.train, FrozenCNN)):
        return False
    return technique.checkpointing in ("both", block.stack)


def trainable(layer: Layer, trace: LayerTrace, technique: Technique) -> bool:
    """Whether a layer takes part in the backward pass; ``freeze_feature_encoder`` stops its own."""
    if not isinstance(technique.train, Everything | FrozenCNN):
        raise TechniqueError(f"{technique.train} cannot be priced", key="train")
    cnn = layer.block is not None and trace.blocks[layer.block].stack == "cnn"
    return not (cnn and isinstance(technique.train, FrozenCNN))


def timeline(trace: LayerTrace, variant: str, technique: Technique) -> Timeline:
    """The step of one micro-batch.

    Args:
        trace: the model.
        variant: a set of metrics, as :meth:`LayerTrace.names` gives them.
        technique: how it is trained.
    """
    return _Builder(trace, variant, technique).build()


class _Builder:
    def __init__(self, trace: LayerTrace, variant: str, technique: Technique):
        self.trace, self.variant, self.technique = trace, variant.split("@")[0], technique
        self.layers = trace.layers
        self.profiles = [layer.profile(variant) for layer in trace.layers]
        self.trained = [trainable(layer, trace, technique) for layer in trace.layers]
        self.moments: list[Closeup] = []
        self.passes: list[Pass] = []
        self.tails: list[Checkpoint] = []
        self.accumulates = technique.accumulate > 1
        self.all_gradients = float(
            sum(x.parameters for x, t in zip(self.layers, self.trained, strict=True) if t) * GRADIENT_BYTES
        )

    def build(self) -> Timeline:
        runs = list(self._runs())
        held, casts = trace_inputs(self.trace), ZERO
        starts: list[Polynomial] = []
        for block, members in runs:
            starts.append(held)
            if checkpointed(block, self.technique):
                assert block is not None
                self._forward(members, held, casts, silent=True)
                held = held + self._input(block)
                casts = Polynomial.total(
                    [casts, *(_constant(self.profiles[i]["saved_bytes"]) for i in members)]
                )
            else:
                held = self._forward(members, held, casts)
            casts = Polynomial.total([casts, *(self.profiles[i]["cached_bytes"] for i in members)])
        end = held
        gradients = self.all_gradients if self.accumulates else 0.0
        arriving = ZERO
        for (block, members), start in zip(reversed(runs), reversed(starts), strict=True):
            if checkpointed(block, self.technique):
                assert block is not None
                arriving = arriving if arriving.terms else self._input(block)
                checkpoint = block.checkpointed[self.variant]
                before = start + (checkpoint.input_bytes - checkpoint.kept_bytes)
                self._again(members, checkpoint, before + arriving, gradients)
                gradients = self._backward(members, before, gradients)
                arriving = self._input(block)
            else:
                gradients = self._backward(members, start, gradients)
        return Timeline(tuple(self.passes), tuple(self.tails), tuple(self.moments), end)

    def _runs(self) -> Iterable[tuple[Block | None, list[int]]]:
        """Consecutive layers of the same block."""
        members: list[int] = []
        for index, layer in enumerate(self.layers):
            if members and self.layers[members[0]].block != layer.block:
                yield self._block(members), members
                members = []
            members.append(index)
        yield self._block(members), members

    def _block(self, members: list[int]) -> Block | None:
        name = self.layers[members[0]].block
        return self.trace.blocks[name] if name is not None else None

    def _input(self, block: Block) -> Polynomial:
        return block.checkpointed[self.variant].input_bytes

    def _saved(self, index: int) -> Polynomial:
        return self.profiles[index]["saved_bytes"] if self.trained[index] else ZERO

    def _forward(
        self, members: Sequence[int], held: Polynomial, casts: Polynomial, silent: bool = False
    ) -> Polynomial:
        """Layers run; ``silent`` where what they keep is let go at once, and the peak comes later."""
        for index in members:
            profile = self.profiles[index]
            self.passes.append(Pass(self.layers[index], profile, backward=False))
            if silent:
                continue
            held = held + self._saved(index)
            casts = casts + profile["cached_bytes"]
            passing = ZERO if self.trained[index] else profile["saved_bytes"]
            gradients = self.all_gradients if self.accumulates else 0.0
            for workspace in (*profile.workspaces.get("forward_workspace_bytes", ()), ZERO):
                self._moment("forward", index, held, Polynomial.total((workspace, passing, casts)), gradients)
        return held

    def _again(
        self, members: Sequence[int], checkpoint: Checkpoint, held: Polynomial, gradients: float
    ) -> None:
        """The forward pass of a checkpointed block, when the backward pass needs its tensors."""
        self.tails.append(checkpoint)
        over = False
        for index in members:
            profile = self.profiles[index]
            self.passes.append(Pass(self.layers[index], profile, backward=False, again=True))
            if over:
                continue
            held = held + profile["saved_bytes"]
            for workspace in (*profile.workspaces.get("forward_workspace_bytes", ()), ZERO):
                self._moment("backward", index, held, workspace, gradients)
            over = self.layers[index].name == checkpoint.last

    def _backward(self, members: Sequence[int], held: Polynomial, gradients: float) -> float:
        cumulative = [held]
        for index in members:
            cumulative.append(cumulative[-1] + self._saved(index))
        for index, through in zip(reversed(members), reversed(cumulative[1:]), strict=True):
            if not self.trained[index]:
                continue
            layer, profile = self.layers[index], self.profiles[index]
            self.passes.append(Pass(layer, profile, backward=True))
            own = float(layer.parameters * GRADIENT_BYTES)
            if not self.accumulates:
                gradients += own
            extra = Polynomial.constant(own) if self.accumulates else ZERO
            for workspace in (*profile.workspaces.get("backward_workspace_bytes", ()), ZERO):
                self._moment("backward", index, through, workspace + extra, gradients)
        return gradients

    def _moment(
        self, phase: str, index: int, saved: Polynomial, workspace: Polynomial, gradients: float
    ) -> None:
        self.moments.append(Closeup(phase, self.layers[index].name, saved, workspace, gradients))


def trace_inputs(trace: LayerTrace) -> Polynomial:
    """Waveforms, masks and negatives of the batch, which live as long as the step."""
    return trace.input_bytes


def _constant(polynomial: Polynomial) -> Polynomial:
    """The part that no batch changes: 16-bit copies of weights, which autocast caches."""
    return Polynomial({m: c for m, c in polynomial.terms.items() if m == (0, 0, 0)})
