"""From updates to the next global model: one rule a file, in float64, as updates stream in.

An update is the difference between the weights a client sends and those it was sent. A rule
receives accepted updates one at a time (:meth:`Rule.add`) and says at the end which step the
global model takes and what share each update had (:meth:`Rule.finish`). Memory does not grow
with the number of updates.
"""

from __future__ import annotations

from fedsim.learning.aggregate.check import fault
from fedsim.learning.aggregate.fedavg import FedAvg
from fedsim.learning.aggregate.loss_weighted import LossWeighted
from fedsim.learning.aggregate.mean import Rule
from fedsim.learning.aggregate.uniform import Uniform

__all__ = ["FedAvg", "LossWeighted", "Rule", "Uniform", "fault", "make"]


def make(name: str, size: int) -> Rule:
    """The rule ``name`` for models of ``size`` parameters, empty."""
    if name == "fedavg":
        return FedAvg(size)
    if name == "uniform":
        return Uniform(size)
    return LossWeighted(size)
