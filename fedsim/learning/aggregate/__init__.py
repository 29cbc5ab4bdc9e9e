"""From updates to the next global model: one rule a file, in float64, as updates stream in.

An update is the difference between the weights a client sends and those it was sent. A rule
receives accepted updates one at a time (:meth:`Rule.add`) and says at the end which step the
global model takes and what share each update had (:meth:`Rule.finish`). Memory does not grow
with the number of updates, but for the trimmed mean. A :class:`Server` may then make more of the
step than adding it.

``fedprox`` averages as ``fedavg``; what is its own happens on the client.
"""

from __future__ import annotations

from fedsim.learning.aggregate.check import fault
from fedsim.learning.aggregate.compress import compress
from fedsim.learning.aggregate.fedavg import FedAvg
from fedsim.learning.aggregate.loss_weighted import LossWeighted
from fedsim.learning.aggregate.mean import Rule
from fedsim.learning.aggregate.server import Server
from fedsim.learning.aggregate.trimmed_mean import TrimmedMean
from fedsim.learning.aggregate.uniform import Uniform

__all__ = ["Rule", "Server", "compress", "fault", "make_rule", "make_server"]


def make_rule(name: str, size: int, *, staleness_exponent: float = 0.0, trim: float = 0.1) -> Rule:
    """The rule ``name`` for models of ``size`` parameters, empty."""
    if name == "uniform":
        return Uniform(size, staleness_exponent)
    if name == "loss-weighted":
        return LossWeighted(size, staleness_exponent)
    if name == "trimmed-mean":
        return TrimmedMean(size, trim)
    return FedAvg(size, staleness_exponent)


def make_server(name: str, size: int, rate: float) -> Server:
    """The server's side of the rule ``name``."""
    return Server({"fedadam": "adam", "fedyogi": "yogi"}.get(name, "plain"), size, rate)
