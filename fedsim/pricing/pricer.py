"""The price of a step on a device: what fleets and runs ask.

A pricer is made once for a device, a trace and a technique; every method then takes arrays of
batches and lengths that broadcast, and answers for all of them at once.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedsim.hardware import Device
from fedsim.pricing import step_time
from fedsim.pricing.footprint import footprint, footprint_bytes
from fedsim.pricing.layers import LayerTrace
from fedsim.pricing.rates import Rates
from fedsim.pricing.step_time import StepWork, step_work
from fedsim.pricing.technique import Technique, TechniqueError
from fedsim.pricing.transfer import update_bytes

if TYPE_CHECKING:
    from fedsim.pricing.calibration import Calibration

Array = NDArray[np.float64]


class Pricer:
    """Prices training steps of one model on one device under one technique.

    Everywhere, ``batch`` counts the sentences of a step and ``samples`` the longest waveform at
    16 kHz, to which the others are padded; both may be arrays, and broadcast.

    Args:
        device: what it runs on.
        trace: the model.
        technique: how it is trained.

    Raises:
        TechniqueError: the device does not train in the technique's precision.
        TraceError: the trace lacks the variant that the device executes.
    """

    def __init__(self, device: Device, trace: LayerTrace, technique: Technique):
        if technique.precision not in device.precisions:
            able = ", ".join(device.precisions)
            raise TechniqueError(
                f"{device.name} does not train in {technique.precision!r}; it can in {able}", key="precision"
            )
        self.device, self.trace, self.technique = device, trace, technique
        self.work: StepWork = step_work(trace, device.backend, technique)
        self.parameters = trace.parameters
        self.weights_bytes = update_bytes(trace.parameters)

    @property
    def trained_bytes(self) -> float:
        """Size of all that trains, which is what an update holds."""
        return update_bytes(self.work.trained_parameters)

    @cached_property
    def calibration(self) -> Calibration:
        """What is known of the device's effective rates, and from where."""
        from fedsim.pricing.calibration import calibrate

        return calibrate(self.device)

    @cached_property
    def rates(self) -> Rates:
        """The device's effective rates in the technique's precision."""
        rates: Rates = self.calibration.rates[self.technique.precision]
        return rates

    @property
    def standard_error(self) -> float:
        """By what factor :meth:`step_s` is off, as one standard deviation of its logarithm; from 1 up."""
        return self.calibration.standard_error(self.technique.precision)

    def step_s(self, batch: ArrayLike, samples: ArrayLike) -> Array:
        """Seconds of one optimizer step, at full speed."""
        return self.work.weighted(self.rates.seconds_per_unit(), batch, samples)

    def step(self, batch: ArrayLike, samples: ArrayLike) -> dict[str, Array]:
        """Seconds by part; they add up to :meth:`step_s`."""
        return step_time.seconds_by_part(self.work.features(batch, samples), self.rates)

    def footprint_bytes(self, batch: ArrayLike, samples: ArrayLike) -> Array:
        """Peak bytes of the training process during a step."""
        return footprint_bytes(self.work, self.device.runtime_bytes, batch, samples)

    def footprint(self, batch: ArrayLike, samples: ArrayLike) -> dict[str, Array]:
        """Peak bytes by part; they add up to :meth:`footprint_bytes`."""
        return footprint(self.work, self.device.runtime_bytes, batch, samples)

    def saved_bytes(self, batch: ArrayLike, samples: ArrayLike) -> Array:
        """Bytes kept for the backward pass at the end of the forward one, the batch included."""
        return self.work.evaluate(lambda work: work.timeline.saved, batch, samples)

    def forward_flops(self, batch: ArrayLike, samples: ArrayLike) -> Array:
        """FLOPs of the forward pass: convolutions, linear layers and the products of attention."""
        return self._flops("forward_flops", batch, samples)

    def forward_flops_paper(self, batch: ArrayLike, samples: ArrayLike) -> Array:
        """The same as the paper counts: without the products of attention."""
        return self._flops("forward_flops_paper", batch, samples)

    def training_flops(self, batch: ArrayLike, samples: ArrayLike) -> Array:
        """FLOPs of forward and backward pass, with what checkpointing computes again."""
        return self._flops("training_flops", batch, samples)

    def fits(
        self, batch: ArrayLike, samples: ArrayLike, pressure_bytes: ArrayLike = 0.0
    ) -> NDArray[np.bool_]:
        """Whether a step fits beside the system and ``pressure_bytes`` of other programs."""
        needed = self.footprint_bytes(batch, samples) + self.device.system_bytes + np.asarray(pressure_bytes)
        return np.asarray(needed <= self.device.memory_bytes)

    def _flops(self, name: str, batch: ArrayLike, samples: ArrayLike) -> Array:
        flops = self.work.evaluate(lambda work: getattr(work, name), batch, samples)
        return flops * self.technique.accumulate
