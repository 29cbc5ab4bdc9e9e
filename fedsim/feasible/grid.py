"""The grid: questions over devices x models x sizes of example x techniques."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, product

from fedsim.errors import InputError
from fedsim.feasible.background import USUAL, background
from fedsim.feasible.question import Limits, Procedure, Question
from fedsim.hardware import Device
from fedsim.pricing import LayerTrace, Pricer, Technique
from fedsim.pricing.advice import EFFECTS, LEARNING, LONGEST_SAMPLES, others, techniques
from fedsim.pricing.sizes import counted, in_unit, is_speech, size_of
from fedsim.units import SAMPLES_PER_S


@dataclass(frozen=True)
class Grid:
    """What is asked of every cell.

    Attributes:
        devices: as sold.
        traces: the models.
        lengths_s: average lengths of sentences, for models on speech.
        techniques: how to train. A precision that a device lacks falls back to fp32 there, as in a
            scenario; cells that become the same are asked once.
        best: instead, every technique that leaves what is learnt as it is, the earliest to be taken;
            the reference trains in the one of them that is fastest there.
        batch: examples a step.
        longest: of the largest example, in seconds for models on speech, else as the trace counts it; None:
            as large as the average one.
        pressure: see :func:`~fedsim.feasible.background.background`.
        procedure: how much is trained.
        limits: what is asked.
        sizes: average sizes of examples by their name, for the other models: ``{"tokens": (128, 512)}``.
    """

    devices: Sequence[Device]
    traces: Sequence[LayerTrace]
    lengths_s: Sequence[float]
    techniques: Sequence[Technique] = field(default_factory=lambda: (Technique(),))
    best: bool = False
    batch: int = 4
    longest: float | None = None
    pressure: str = USUAL
    procedure: Procedure = field(default_factory=Procedure)
    limits: Limits = field(default_factory=Limits)
    sizes: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @property
    def on_speech(self) -> list[LayerTrace]:
        """The models whose sizes are seconds of speech."""
        return [trace for trace in self.traces if is_speech(trace)]

    @property
    def on_others(self) -> list[LayerTrace]:
        """The other models."""
        return [trace for trace in self.traces if not is_speech(trace)]

    def amounts(self, trace: LayerTrace) -> Sequence[float]:
        """The average sizes that are asked of a model, in people's own unit; 1 if its examples are alike."""
        if is_speech(trace):
            return self.lengths_s
        return self.sizes.get(trace.sizes[0], ()) if trace.sizes else (1.0,)

    def cells(self) -> Iterator[list[Question]]:
        """The questions, cell by cell: one each, or with ``best`` all techniques of a cell.

        Raises:
            InputError: a length that makes no frame or is longer than an hour, a size that a model does not
                have or lacks, or a largest example that is not.
        """
        for trace in self.traces:
            self._check(trace)
        for device, trace in product(self.devices, self.traces):
            for size in self.amounts(trace):
                yield from self._cells(device, trace, size)

    def _cells(self, device: Device, trace: LayerTrace, size: float) -> Iterator[list[Question]]:
        if self.best:
            fastest = self._fastest_on_reference(trace, size)
            yield [
                replace(self._question(device, trace, size, t), reference_technique=fastest)
                for t in same_learning(device.training_precisions, self.batch, trace)
            ]
        else:
            able = device.precisions
            usable = (t if t.precision in able else replace(t, precision="fp32") for t in self.techniques)
            for technique in dict.fromkeys(usable):
                yield [self._question(device, trace, size, technique)]

    def _fastest_on_reference(self, trace: LayerTrace, size: float) -> Technique | None:
        reference = self.limits.reference
        if reference is None:
            return None
        options = same_learning(reference.training_precisions, self.batch, trace)
        length = counted(trace, size)
        return min(options, key=lambda t: float(Pricer(reference, trace, t).step_s(self.batch, length)))

    def _question(self, device: Device, trace: LayerTrace, size: float, technique: Technique) -> Question:
        return Question(
            device=device,
            trace=trace,
            technique=technique,
            size=size,
            longest=size if self.longest is None or not trace.sizes else self.longest,
            batch=self.batch,
            background=background(self.pressure, device),
            procedure=self.procedure,
            limits=self.limits,
        )

    def _check(self, trace: LayerTrace) -> None:
        amounts = self.amounts(trace)
        if is_speech(trace):
            self._check_lengths(trace)
        elif trace.sizes:
            asked = [*amounts, *([] if self.longest is None else [self.longest])]
            for size in asked if amounts else [None]:
                if size is not None and not float(size).is_integer():
                    raise InputError(
                        f"{size:g} {trace.sizes[0]} cannot be; give a whole number", key="--longest"
                    )
                size_of(trace, None, {} if size is None else {trace.sizes[0]: int(size)})
        if self.longest is not None and trace.sizes and self.longest < max(amounts):
            longest, average = (in_unit(trace, amount) for amount in (self.longest, max(amounts)))
            raise InputError(f"{longest} is shorter than the average of {average}", key="--longest")

    def _check_lengths(self, trace: LayerTrace) -> None:
        for key, seconds in [
            *(("--seconds", s) for s in self.lengths_s),
            *([] if self.longest is None else [("--longest", self.longest)]),
        ]:
            if not (math.isfinite(seconds) and 0 < seconds <= LONGEST_SAMPLES / SAMPLES_PER_S):
                raise InputError(f"{seconds:g} is not a length between 0 and an hour (3600)", key=key)
            if trace.frames(counted(trace, seconds)) < 1:
                raise InputError(f"{seconds:g} leaves {trace.name} no frame; give a longer sentence", key=key)


def same_learning(precisions: Sequence[str], batch: int, trace: LayerTrace) -> list[Technique]:
    """Every technique that changes nothing about what is learnt but rounding; plain training first."""
    plain = Technique()
    return [
        t
        for t in chain(techniques(precisions, batch, trace), others(precisions, batch, trace))
        if all(EFFECTS[name] != LEARNING for name in t.changes(plain))
    ]
