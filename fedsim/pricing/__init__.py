"""The price of training: FLOPs, bytes and seconds of a step, from a layer trace and a device.

Pure functions of numbers, with numpy arrays in and out; a trace is read from ``traces/*.json``
and no model is ever built here.
"""

from __future__ import annotations

from fedsim.pricing.layers import LayerTrace
from fedsim.pricing.pricer import Pricer
from fedsim.pricing.rates import FEATURES, Rates
from fedsim.pricing.step_time import StepWork
from fedsim.pricing.technique import Technique, TechniqueError
from fedsim.pricing.trace import load_trace

__all__ = [
    "FEATURES",
    "LayerTrace",
    "Pricer",
    "Rates",
    "StepWork",
    "Technique",
    "TechniqueError",
    "load_trace",
]
