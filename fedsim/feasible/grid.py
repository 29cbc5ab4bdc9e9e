"""The grid: questions over devices x models x lengths of sentence x techniques."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

from fedsim.errors import InputError
from fedsim.feasible.background import USUAL, background
from fedsim.feasible.question import Limits, Procedure, Question
from fedsim.hardware import Device
from fedsim.pricing import LayerTrace, Pricer, Technique
from fedsim.pricing.advice import EFFECTS, LEARNING, LONGEST_SAMPLES, techniques
from fedsim.pricing.sizes import needs_speech
from fedsim.units import SAMPLES_PER_S


@dataclass(frozen=True)
class Grid:
    """What is asked of every cell.

    Attributes:
        devices: as sold.
        traces: the models.
        lengths_s: average lengths of sentences.
        techniques: how to train. A precision that a device lacks falls back to fp32 there, as in a
            scenario; cells that become the same are asked once.
        best: instead, every technique that leaves what is learnt as it is, the earliest to be taken;
            the reference trains in the one of them that is fastest there.
        batch: sentences a step.
        longest_s: of the longest sentence; None: as long as the average one.
        pressure: see :func:`~fedsim.feasible.background.background`.
        procedure: how much is trained.
        limits: what is asked.
    """

    devices: Sequence[Device]
    traces: Sequence[LayerTrace]
    lengths_s: Sequence[float]
    techniques: Sequence[Technique] = field(default_factory=lambda: (Technique(),))
    best: bool = False
    batch: int = 4
    longest_s: float | None = None
    pressure: str = USUAL
    procedure: Procedure = field(default_factory=Procedure)
    limits: Limits = field(default_factory=Limits)

    def cells(self) -> Iterator[list[Question]]:
        """The questions, cell by cell: one each, or with ``best`` all techniques of a cell.

        Raises:
            InputError: a length that makes no frame or is longer than an hour, or a longest sentence
                that is not.
        """
        for trace in self.traces:
            self._check(trace)
        for device, trace, seconds in product(self.devices, self.traces, self.lengths_s):
            if self.best:
                fastest = self._fastest_on_reference(trace, seconds)
                yield [
                    replace(self._question(device, trace, seconds, t), reference_technique=fastest)
                    for t in same_learning(device.training_precisions, self.batch)
                ]
            else:
                able = device.precisions
                usable = (t if t.precision in able else replace(t, precision="fp32") for t in self.techniques)
                for technique in dict.fromkeys(usable):
                    yield [self._question(device, trace, seconds, technique)]

    def _fastest_on_reference(self, trace: LayerTrace, seconds: float) -> Technique | None:
        reference = self.limits.reference
        if reference is None:
            return None
        samples = round(seconds * SAMPLES_PER_S)
        options = same_learning(reference.training_precisions, self.batch)
        return min(options, key=lambda t: float(Pricer(reference, trace, t).step_s(self.batch, samples)))

    def _question(self, device: Device, trace: LayerTrace, seconds: float, technique: Technique) -> Question:
        return Question(
            device=device,
            trace=trace,
            technique=technique,
            seconds=seconds,
            longest_s=seconds if self.longest_s is None else self.longest_s,
            batch=self.batch,
            background=background(self.pressure, device),
            procedure=self.procedure,
            limits=self.limits,
        )

    def _check(self, trace: LayerTrace) -> None:
        needs_speech(trace, "feasible")
        for key, seconds in [
            *(("--seconds", s) for s in self.lengths_s),
            *([] if self.longest_s is None else [("--longest", self.longest_s)]),
        ]:
            if not (math.isfinite(seconds) and 0 < seconds <= LONGEST_SAMPLES / SAMPLES_PER_S):
                raise InputError(f"{seconds:g} is not a length between 0 and an hour (3600)", key=key)
            if trace.frames(round(seconds * SAMPLES_PER_S)) < 1:
                raise InputError(f"{seconds:g} leaves {trace.name} no frame; give a longer sentence", key=key)
        if self.longest_s is not None and self.longest_s < max(self.lengths_s):
            raise InputError(
                f"{self.longest_s:g} s is shorter than the average of {max(self.lengths_s):g} s",
                key="--longest",
            )


def same_learning(precisions: Sequence[str], batch: int) -> list[Technique]:
    """Every technique that changes nothing about what is learnt but rounding; plain training first."""
    plain = Technique()
    return [
        t
        for t in techniques(precisions, batch)
        if all(EFFECTS[name] != LEARNING for name in t.changes(plain))
    ]
