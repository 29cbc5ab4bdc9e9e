"""The price of training: FLOPs, bytes and seconds of a step, from a layer trace and a device.

Pure functions of numbers, with numpy arrays in and out; a trace is read from ``traces/*.json``
and no model is ever built here.
"""

from __future__ import annotations

from fedsim.cost.layers import LayerTrace
from fedsim.cost.pricer import Pricer
from fedsim.cost.rates import FEATURES, Rates
from fedsim.cost.step_time import StepWork
from fedsim.cost.technique import Technique, TechniqueError
from fedsim.cost.trace import load_trace
from fedsim.rooms import make_callable

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

make_callable(__name__)
