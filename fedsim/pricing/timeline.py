"""One training step as a sequence of moments: what is computed, and what is alive when.

A layer trace tells what each layer does when everything is stored. From it follow, without another
trace, the techniques that change what is stored:

- **Gradient checkpointing** (transformers' own, non-reentrant): a checkpointed block keeps its
  input only; when the backward pass reaches it, its forward pass runs again until the last tensor
  is saved, and its tensors live from then until they are used.
- **What trains** (:mod:`fedsim.pricing.states`): a layer that neither trains nor is reached keeps nothing
  and has no backward pass; what it would have kept is alive while it runs, and what was handed to its
  block as long as that does. A checkpointed block of such layers is not run again.
- **Released gradients**: of those that are finished only the one that was finished last is there.
- **Forward passes only**: two of them, and nothing is kept.

A moment is a candidate for the peak: bytes saved, workspace beyond them, and gradients already
there. The largest moment of forward, backward and optimizer step is the footprint.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fedsim.pricing.inserted import Inserted
from fedsim.pricing.layers import ZERO, Block, Checkpoint, Layer, LayerTrace, Profile
from fedsim.pricing.polynomial import Polynomial
from fedsim.pricing.states import course
from fedsim.pricing.technique import Technique

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
        runs = course(trace, technique)
        self.trace, self.states = runs.trace, runs.states
        self.variant, self.technique = variant.split("@")[0], technique
        self.layers = self.trace.layers
        self.profiles = [layer.profile(variant) for layer in self.layers]
        self.kept = self._kept()
        self.moments: list[Closeup] = []
        self.passes: list[Pass] = []
        self.tails: list[Checkpoint] = []
        self.accumulates = technique.accumulate > 1 and not technique.forward_only
        self.all_gradients = float(runs.parameters * GRADIENT_BYTES)

    def build(self) -> Timeline:
        runs = list(self._runs())
        held, casts = trace_inputs(self.trace), ZERO
        starts: list[Polynomial] = []
        for block, members in runs:
            starts.append(held)
            silent = self._runs_again(block, members)
            held = self._forward(members, block, held, casts, silent)
            casts = Polynomial.total([casts, *(self._cached(i, silent) for i in members)])
        end = held
        if self.technique.forward_only:
            self.passes += [Pass(run.layer, run.profile, backward=False, again=True) for run in self.passes]
            return Timeline(tuple(self.passes), (), tuple(self.moments), end)
        gradients = self.all_gradients if self.accumulates else 0.0
        arriving = ZERO
        for (block, members), start in zip(reversed(runs), reversed(starts), strict=True):
            if self._runs_again(block, members):
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

    def _kept(self) -> list[Polynomial]:
        """What each layer keeps; what several keep together is charged once, to the first that needs it."""
        if self.technique.forward_only:
            return [ZERO] * len(self.layers)
        kept = [s.kept(profile) for s, profile in zip(self.states, self.profiles, strict=True)]
        place = {layer.name: i for i, layer in enumerate(self.layers)}
        charged: set[str] = set()
        for index, state in enumerate(self.states):
            shared, own = state.layer.shares, self.profiles[index]["weight_saved_bytes"]
            if shared is None or shared in charged or own.terms or not state.needs_input:
                continue
            if shared in place and not self.states[place[shared]].needs_input:
                charged.add(shared)
                kept[index] = kept[index] + self.profiles[place[shared]]["weight_saved_bytes"]
        return kept

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

    def _active(self, members: Sequence[int]) -> bool:
        return not self.technique.forward_only and any(self.states[i].active for i in members)

    def _runs_again(self, block: Block | None, members: Sequence[int]) -> bool:
        """Whether a block is checkpointed, and has a backward pass."""
        chosen = block is not None and self.technique.checkpointing in ("both", block.stack)
        return chosen and self._active(members)

    def _cached(self, index: int, all_of_them: bool) -> Polynomial:
        """16-bit copies of parameters that train, which autocast holds until the end of the forward pass.

        Those of weights are kept for the backward pass anyway, but where nothing is: then ``all_of_them``.
        """
        if self.states[index].trains == "nothing":
            return ZERO
        profile = self.profiles[index]
        if not (all_of_them or self.technique.forward_only):
            return profile["cached_bytes"]
        return profile["cached_bytes"] + _constant(profile["saved_bytes"])

    def _forward(
        self,
        members: Sequence[int],
        block: Block | None,
        held: Polynomial,
        casts: Polynomial,
        silent: bool,
    ) -> Polynomial:
        """Layers run; ``silent`` where what they keep is let go at once, and the peak comes later."""
        self.passes += [Pass(self.layers[i], self.profiles[i], backward=False) for i in members]
        if silent:
            assert block is not None
            return held + self._input(block)
        gradients = self.all_gradients if self.accumulates else 0.0
        lost = not self._active(members) and block is not None and block.stack != "cnn"
        given = self._input(block) if lost and block is not None else ZERO
        for index in members:
            profile = self.profiles[index]
            held = held + self.kept[index]
            casts = casts + self._cached(index, False)
            passing = profile["saved_bytes"] - self.kept[index] if not self.states[index].active else ZERO
            for workspace in (*profile.workspaces.get("forward_workspace_bytes", ()), ZERO):
                extra = Polynomial.total((workspace, passing, given, casts))
                self._moment("forward", index, held, extra, gradients)
        return held

    def _again(
        self, members: Sequence[int], checkpoint: Checkpoint, held: Polynomial, gradients: float
    ) -> None:
        """The forward pass of a checkpointed block, when the backward pass needs its tensors."""
        names = [self.layers[i].name for i in members]
        inserted = [at for at, i in enumerate(members) if isinstance(self.layers[i], Inserted)]
        last = names.index(checkpoint.last) if checkpoint.last in names else len(names)
        if not inserted or inserted[-1] <= last:
            self.tails.append(checkpoint)
        last = max([last, *inserted])
        for at, index in enumerate(members):
            profile = self.profiles[index]
            self.passes.append(Pass(self.layers[index], profile, backward=False, again=True))
            if at > last:
                continue
            held = held + self.kept[index]
            for workspace in (*profile.workspaces.get("forward_workspace_bytes", ()), ZERO):
                self._moment("backward", index, held, workspace, gradients)

    def _backward(self, members: Sequence[int], held: Polynomial, gradients: float) -> float:
        cumulative = [held]
        for index in members:
            cumulative.append(cumulative[-1] + self.kept[index])
        for index, through in zip(reversed(members), reversed(cumulative[1:]), strict=True):
            state, profile = self.states[index], self.profiles[index]
            if not state.active:
                continue
            self.passes.append(Pass(state.layer, state.backward(profile), backward=True))
            own = float(state.parameters * GRADIENT_BYTES)
            if self.technique.release_gradients:
                gradients = own
            elif not self.accumulates:
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
