"""The question, priced once: what training takes on a device as sold, and what is asked of it.

The seconds of a step fall into three parts that grow at rates of their own: arithmetic (``compute``),
memory traffic (``bandwidth``) and launches (``launch``). They are split as a projected device's rates
are scaled, so that a step at any year is what ``fedsim cost`` says of the projected device.

The procedure is the paper's (section 3.3) unless told otherwise: 150 rounds of one local epoch, ten
clients with 19,500 utterances of 5.5 s each. At other lengths of sentence a client keeps its hours of
speech and has fewer or more sentences; of a model that is not on speech it has as many examples,
whatever their size, unless told otherwise. Communication is not counted, as in the paper, nor is the time
between rounds: the device trains one round after another. One that slows down once hot does so in every
round.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fedsim.feasible.background import Background
from fedsim.hardware import Device
from fedsim.pricing import FEATURES, LayerTrace, Pricer, Technique
from fedsim.pricing.sizes import batch_in_words, counted, is_speech
from fedsim.pricing.step_time import throttled_s
from fedsim.pricing.uncertainty import board_of, spread
from fedsim.units import HOUR_S

Array = NDArray[np.float64]

PARTS: Mapping[str, tuple[str, ...]] = {
    "compute": ("conv_flops", "grouped_conv_flops", "matmul_flops", "attention_flops"),
    "bandwidth": ("operand_bytes", "stream_bytes", "optimizer_bytes"),
    "launch": ("launches", "examples"),
}
"""What each part of a step that grows at a rate of its own is made of."""


@dataclass(frozen=True)
class Procedure:
    """How much is trained: ``rounds`` of ``epochs`` over each client's ``speech_s`` seconds of speech.

    A model that is not on speech is trained on ``examples`` a client.
    """

    rounds: int = 150
    epochs: int = 1
    speech_s: float = 19_500 * 5.5
    examples: int = 19_500

    def steps(self, seconds: float | None, batch: int) -> int:
        """Optimizer steps of a client in a round: on sentences of so many seconds, or (None) on examples."""
        examples = self.examples if seconds is None else max(1, round(self.speech_s / seconds))
        return self.epochs * math.ceil(examples / batch)

    @property
    def hours(self) -> float:
        """Hours of speech of a client."""
        return self.speech_s / HOUR_S


@dataclass(frozen=True)
class Limits:
    """What is asked beyond fitting into memory; None: not asked.

    Attributes:
        reference: the device, as sold, whose speed and memory are to be reached.
        within_s: in which the procedure has to finish.
        budget_j: energy that a client may spend on the whole procedure.
        battery_share: share of its battery that a round may take, on devices that have one.
    """

    reference: Device | None = None
    within_s: float | None = None
    budget_j: float | None = None
    battery_share: float | None = None


@dataclass(frozen=True)
class Question:
    """One cell of devices x models x sizes x techniques.

    Attributes:
        device: as sold.
        trace: the model.
        technique: how it is trained.
        size: of an average example, which decides the time: seconds of speech, else as the trace counts it
            (1 if all examples are alike).
        longest: of the largest example, which decides the memory; likewise.
        batch: examples a step.
        background: what other programs hold.
        procedure: how much is trained.
        limits: what is asked.
        reference_technique: how the reference trains; None: in the same way.
    """

    device: Device
    trace: LayerTrace
    technique: Technique
    size: float
    longest: float
    batch: int
    background: Background
    procedure: Procedure
    limits: Limits
    reference_technique: Technique | None = None

    @cached_property
    def steps(self) -> int:
        """Optimizer steps of a client in a round."""
        return self.procedure.steps(self.size if is_speech(self.trace) else None, self.batch)

    @property
    def batch_in_words(self) -> str:
        """``4 x 5.5 s``, ``8 x 128 tokens``, ``8 examples``."""
        return batch_in_words(self.trace, self.batch, self.size)

    @cached_property
    def footprint_bytes(self) -> float:
        """Peak of the training process on the largest example."""
        return float(self._pricer.footprint_bytes(self.batch, counted(self.trace, self.longest)))

    @property
    def needed_bytes(self) -> float:
        """Memory that the device needs: training, its system, and other programs."""
        return self.footprint_bytes + self.device.system_bytes + self.background.held_bytes

    @cached_property
    def parts_s(self) -> dict[str, float]:
        """Seconds of a step as sold, by ``PARTS``."""
        return _parts_s(self._pricer, self.batch, self.size)

    @cached_property
    def reference_round_s(self) -> float:
        """Seconds that the reference takes for a client's round.

        Raises:
            TechniqueError: it does not train in the technique's precision.
        """
        reference = self.limits.reference
        assert reference is not None
        pricer = Pricer(reference, self.trace, self.reference_technique or self.technique)
        parts = _parts_s(pricer, self.batch, self.size)
        return float(self.on(reference, sum(parts.values())))

    def spreads(self) -> tuple[float, float]:
        """By what factor seconds go from their middle to the high end of their interval.

        The first is of the device's own seconds, the second of them over the reference's, which is off
        itself; a device beside itself is off by nothing.

        Raises:
            TechniqueError: the reference does not train in the technique's precision.
        """
        own, reference = self._pricer.standard_error, self.limits.reference
        if reference is None:
            return spread(own), spread(own)
        technique = self.reference_technique or self.technique
        other = Pricer(reference, self.trace, technique).standard_error
        same = board_of(reference.name) == board_of(self.device.name)
        both = abs(math.log(own) - math.log(other)) if same else math.hypot(math.log(own), math.log(other))
        return spread(own), spread(math.exp(both))

    @cached_property
    def _pricer(self) -> Pricer:
        return Pricer(self.device, self.trace, self.technique)

    def on(self, device: Device, step_s: float | Array) -> Array:
        """Seconds of a round whose steps take ``step_s`` at full speed, on a device that may get hot."""
        return throttled_s(self.steps * np.asarray(step_s), device.throttle_after_s, device.sustained)


def _parts_s(pricer: Pricer, batch: int, size: float) -> dict[str, float]:
    features = pricer.work.features(batch, counted(pricer.trace, size))
    cost = dict(zip(FEATURES, features * pricer.rates.seconds_per_unit(), strict=True))
    return {part: float(sum(cost[name] for name in names)) for part, names in PARTS.items()}
