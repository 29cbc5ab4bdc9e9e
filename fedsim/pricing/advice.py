"""What makes training fit on a device: every combination of techniques, priced at one batch and size.

The combinations are those of :class:`~fedsim.pricing.technique.Technique`: precisions that the device
trains in, optimizers, attention, checkpointing, a frozen CNN encoder, and micro-batches that halve
from the whole batch down to one example. Checkpointing an encoder that is frozen changes nothing
and is left out, and so is what a model has not got: a CNN encoder to freeze, blocks to checkpoint.
Ways to train less than the whole model, fewer layers or with forward passes only are priced with Adam, each
as it is, with fused attention, and with all that saves memory; released gradients with all but micro-batches.
Optimizers and numbers of micro-batches share the work of forward and backward pass, so hundreds of
combinations cost a few dozen walks through the layers.

Assumptions: every example is as large as the largest; pressure of other programs is not counted;
a larger example never needs less memory, nor does a larger batch.
"""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain, product

from fedsim.errors import InputError
from fedsim.hardware import Device
from fedsim.pricing import LayerTrace, StepWork, Technique
from fedsim.pricing.calibration import Calibration, calibrate
from fedsim.pricing.footprint import footprint_bytes
from fedsim.pricing.optimizer import OptimizerCost
from fedsim.pricing.sizes import LARGEST, is_speech
from fedsim.pricing.states import course
from fedsim.pricing.step_time import TRACED, update_cost
from fedsim.pricing.structure import structure_of
from fedsim.pricing.technique import ATTENTIONS, CHECKPOINTINGS, OPTIMIZERS
from fedsim.pricing.trained import EVERYTHING, Adapters, Biases, FrozenCNN, Head, Last, LoRA, Trained
from fedsim.units import SAMPLES_PER_S

LONGEST_SAMPLES = 3600 * SAMPLES_PER_S
"""An hour: sentences are not looked for beyond it."""
LARGEST_BATCH = 65_536
"""Of examples that a step can be asked for."""


def most(trace: LayerTrace) -> int:
    """The largest size that is looked for, as the trace counts it; of a batch, if all examples are alike."""
    if not trace.sizes:
        return LARGEST_BATCH
    return LONGEST_SAMPLES if is_speech(trace) else LARGEST


GRAVITY = SAME, ROUNDING, LEARNING = "same", "rounding", "learning"
EFFECTS = {
    "attention": SAME,
    "checkpointing": SAME,
    "accumulate": SAME,
    "precision": ROUNDING,
    "optimizer": LEARNING,
    "train": LEARNING,
    "depth": LEARNING,
    "release_gradients": SAME,
    "forward_only": LEARNING,
}
"""What changing a field does to the weights after a step. ``same``: nothing but the order of sums
(accumulated gradients are those of the batch, since no layer mixes examples and negatives come from
a sentence's own frames; only wav2vec 2.0's diversity loss averages over a micro-batch instead of the
batch). ``rounding``: sums in 16 bits. ``learning``: another update rule, fewer weights trained, or fewer
layers."""


@dataclass(frozen=True)
class Option:
    """One way to train, priced.

    Attributes:
        technique: the combination.
        changes: fields in which it differs from plain training.
        footprint_bytes: peak of the training process.
        step_s: seconds of an optimizer step on the whole batch.
        fits: whether the footprint is within what the system leaves.
    """

    technique: Technique
    changes: tuple[str, ...]
    footprint_bytes: float
    step_s: float
    fits: bool

    @property
    def effect(self) -> str:
        """The gravest effect of its changes on what is learnt: one of ``same, rounding, learning``."""
        return max((EFFECTS[name] for name in self.changes), key=GRAVITY.index, default=SAME)

    @property
    def words(self) -> str:
        """The technique in a few words, and what a step's seconds do not say of it."""
        more = ", needs many more steps" if self.technique.forward_only else ""
        return self.technique.in_words() + more

    def beats(self, other: Option) -> bool:
        """Whether there is no reason to prefer ``other``, which is not faster."""
        return (
            self.step_s <= other.step_s
            and self.footprint_bytes <= other.footprint_bytes
            and len(self.changes) <= len(other.changes)
            and GRAVITY.index(self.effect) <= GRAVITY.index(other.effect)
        )


@dataclass(frozen=True)
class Longest:
    """The largest example that fits, and how; if examples are all alike, the largest batch of them.

    ``size`` is as the trace counts it, 0 if not even one frame (or one example) fits.
    """

    size: int
    technique: Technique

    @property
    def seconds(self) -> float:
        """The duration, if it is a waveform; an hour means an hour or more."""
        return self.size / SAMPLES_PER_S


class Fit:
    """Every combination on one device, for one model, batch and size.

    Args:
        device: what trains.
        trace: the model.
        batch: examples of an optimizer step, from 1 up.
        size: of the largest of them, as the trace counts it (speech: samples at 16 kHz); at least one
            frame. 1 for a model whose examples are all alike.
    """

    def __init__(self, device: Device, trace: LayerTrace, batch: int, size: int):
        self.device, self.trace, self.batch, self.size = device, trace, batch, size
        self.available_bytes = device.memory_bytes - device.system_bytes
        able = device.training_precisions
        self.plain_technique = Technique(precision="fp32" if "fp32" in able else able[0])
        self._shared: dict[Technique, StepWork] = {}
        self._optimizers: dict[Technique, OptimizerCost] = {}

    @cached_property
    def options(self) -> tuple[Option, ...]:
        """All of them: those that fit from the fastest on, then the others from the leanest on."""
        able = self.device.training_precisions
        with _uncollected():
            asked = chain(techniques(able, self.batch, self.trace), others(able, self.batch, self.trace))
            found = [self._option(t) for t in asked]
        return tuple(sorted(found, key=_order))

    @cached_property
    def front(self) -> tuple[Option, ...]:
        """Those that no other beats: at most as slow, as large, as changed and as grave for the learning."""
        kept: list[Option] = []
        for option in sorted(self.options, key=lambda o: (o.step_s, len(o.changes), o.footprint_bytes)):
            if not any(other.beats(option) for other in kept):
                kept.append(option)
        return tuple(sorted(kept, key=_order))

    @cached_property
    def plain(self) -> Option:
        """Training without any change."""
        return next(o for o in self.options if not o.changes)

    @property
    def fastest(self) -> Option | None:
        """The fastest that fits; None if nothing does. Steps of forward passes only are no such steps."""
        return self._fastest(LEARNING)

    @property
    def fastest_same_learning(self) -> Option | None:
        """The fastest that fits and leaves optimizer and trained weights as they are."""
        return self._fastest(ROUNDING)

    @property
    def cheapest(self) -> Option | None:
        """Of those that fit, the one with the fewest changes, then the least grave, then the fastest."""
        return min(
            (o for o in self.options if o.fits and not o.technique.forward_only),
            key=lambda o: (len(o.changes), GRAVITY.index(o.effect), o.step_s),
            default=None,
        )

    @property
    def leanest(self) -> Option:
        """The one that needs least memory."""
        return min(self.options, key=lambda o: (o.footprint_bytes, len(o.changes), o.step_s))

    @property
    def missing_bytes(self) -> float:
        """What the device lacks for the leanest; 0 if that fits."""
        return max(self.leanest.footprint_bytes - self.available_bytes, 0.0)

    @cached_property
    def longest_plain(self) -> Longest:
        """The longest that fits with no change at all."""
        return self._longest([self.plain])

    @cached_property
    def longest_same_learning(self) -> Longest:
        """The longest that fits without touching the optimizer or the trained weights."""
        return self._longest([o for o in self.options if o.effect != LEARNING])

    @cached_property
    def longest(self) -> Longest:
        """The longest that fits under any combination."""
        return self._longest(self.options)

    def _fastest(self, gravest: str) -> Option | None:
        allowed = GRAVITY[: GRAVITY.index(gravest) + 1]
        steps = (o for o in self.options if not o.technique.forward_only)
        return next((o for o in steps if o.fits and o.effect in allowed), None)

    def _option(self, technique: Technique) -> Option:
        work, rates = self._work(technique), self._calibration.rates[technique.precision]
        needed = float(footprint_bytes(work, self.device.runtime_bytes, self.batch, self.size))
        return Option(
            technique=technique,
            changes=technique.changes(self.plain_technique),
            footprint_bytes=needed,
            step_s=float(work.weighted(rates.seconds_per_unit(), self.batch, self.size)),
            fits=needed <= self.available_bytes,
        )

    @cached_property
    def _calibration(self) -> Calibration:
        return calibrate(self.device)

    def _work(self, technique: Technique) -> StepWork:
        """The work of a step; the walk through the layers is shared by all that walk alike."""
        traced = TRACED[technique.precision]
        alike = replace(
            technique, precision=traced, optimizer="adam", accumulate=min(technique.accumulate, 2)
        )
        if alike not in self._shared:
            self._shared[alike] = StepWork(self.trace, self.device.backend, alike)
        work = copy.copy(self._shared[alike])
        work.technique, work.optimizer = technique, self._optimizer(technique)
        return work

    def _optimizer(self, technique: Technique) -> OptimizerCost:
        key = replace(technique, precision="mixed" if technique.precision == "mixed" else "fp32")
        if key not in self._optimizers:
            self._optimizers[key] = update_cost(course(self.trace, technique), self.device.backend, technique)
        return self._optimizers[key]

    def _fits_at(self, technique: Technique, batch: int, size: int) -> bool:
        needed = footprint_bytes(self._work(technique), self.device.runtime_bytes, batch, size)
        return float(needed) <= self.available_bytes

    def _longest(self, options: Sequence[Option]) -> Longest:
        if self.trace.sizes:
            return _furthest(
                options, lambda how, n: self._fits_at(how, self.batch, n), self._shortest, most(self.trace)
            )
        whole = [o for o in options if o.technique.accumulate == 1]  # in micro-batches, any batch fits
        return _furthest(whole, lambda how, n: self._fits_at(how, n, self.size), 1, most(self.trace))

    @cached_property
    def _shortest(self) -> int:
        """The smallest size that makes a frame; the size asked for makes at least one."""
        return -_last(lambda less: int(self.trace.frames(-less)) >= 1, -self.size, 0)


def _furthest(
    options: Sequence[Option], fits: Callable[[Technique, int], bool], least: int, limit: int
) -> Longest:
    """The largest number from ``least`` to ``limit`` that fits under any of the options, or 0.

    Bisection for each that beats the best so far; leanest first, so that few do.
    """
    best = Longest(0, min(options, key=lambda o: o.footprint_bytes).technique)
    for option in sorted(options, key=lambda o: (o.footprint_bytes, len(o.changes))):
        low = max(best.size, least - 1)
        if low >= limit or not fits(option.technique, low + 1):
            continue
        low = _last(partial(fits, option.technique), low + 1, limit + 1)
        best = Longest(low, option.technique)
    return best


def _last(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The last whole number at which ``holds``, given that it does at ``low`` and not at ``high``."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


@contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage collection: walks make many small objects and no cycles, and it would take 40%."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _order(option: Option) -> tuple[float, ...]:
    first = option.step_s if option.fits else option.footprint_bytes
    return (not option.fits, first, len(option.changes), option.footprint_bytes)


def micro_batches(batch: int) -> tuple[int, ...]:
    """Numbers of micro-batches that halve a batch down to single examples: 1, 2, 4, ... and ``batch``."""
    counts = [1]
    while counts[-1] * 2 < batch:
        counts.append(counts[-1] * 2)
    return tuple(dict.fromkeys([*counts, batch]))


def techniques(precisions: Sequence[str], batch: int, trace: LayerTrace) -> Iterator[Technique]:
    """Every combination that makes a difference, for a batch, the precisions of a device and a model."""
    stacks = {block.stack for block in trace.blocks.values()}
    needs = {"both": {"cnn", "transformer"}, "cnn": {"cnn"}, "transformer": {"transformer"}}
    checkpointings = [c for c in CHECKPOINTINGS if needs.get(c, set()) <= stacks]
    trained: list[Trained] = [EVERYTHING, FrozenCNN()] if "cnn" in stacks else [EVERYTHING]
    for precision, optimizer, attention, checkpointing, train, parts in product(
        precisions, OPTIMIZERS, ATTENTIONS, checkpointings, trained, micro_batches(batch)
    ):
        if not (train == FrozenCNN() and checkpointing in ("cnn", "both")):
            yield Technique(precision, optimizer, attention, checkpointing, train, parts)


def others(precisions: Sequence[str], batch: int, trace: LayerTrace) -> Iterator[Technique]:
    """Released gradients, and ways that learn otherwise: a choice of them, not every combination."""
    stacks = {block.stack for block in trace.blocks.values()}
    most = {0: "none", 1: next(iter(stacks), "none")}.get(len(stacks), "both")
    for precision, optimizer, attention, checkpointing in product(
        precisions, OPTIMIZERS, ATTENTIONS, dict.fromkeys(("none", most))
    ):
        yield Technique(precision, optimizer, attention, checkpointing, release_gradients=True)
    less = ways(trace)
    for precision, way in product(precisions, less):
        saving = "none" if way.forward_only or way.train == Head() else most  # nothing would run again
        for attention, checkpointing, parts in dict.fromkeys(
            (("eager", "none", 1), ("sdpa", "none", 1), ("sdpa", saving, 1), ("sdpa", saving, batch))
        ):
            yield replace(
                way,
                precision=precision,
                attention=attention,
                checkpointing=checkpointing,
                accumulate=parts,
            )


def ways(trace: LayerTrace) -> list[Technique]:
    """Ways to train less of a model, or otherwise, as far as it has the layers for them."""
    layers = len(structure_of(trace).layers)
    last = [Last(k) for k in sorted({1, 2, layers // 2}) if 0 < k < layers]
    less = [Technique(train=train) for train in (*last, LoRA(8), Adapters(64), Biases(), Head())]
    if layers > 1:
        less.append(Technique(depth=layers // 2))
    return [*(way for way in less if _possible(trace, way)), Technique(forward_only=True)]


def _possible(trace: LayerTrace, technique: Technique) -> bool:
    try:
        course(trace, technique)
    except InputError:
        return False
    return True
