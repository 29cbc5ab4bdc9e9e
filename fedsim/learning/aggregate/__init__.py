"""From updates to the next global model: one rule a file, in float64, as updates stream in.

An update is the difference between the weights a client sends and those it was sent. A rule
receives accepted updates one at a time and says at the end which step the global model takes and
what share each update had. Memory does not grow with the number of updates, but for the trimmed
mean. :mod:`fedsim.learning.aggregate.base` says what else a rule may do.
"""

from __future__ import annotations

from fedsim.learning.aggregate.adaptive import FedAdam, FedYogi
from fedsim.learning.aggregate.base import Aggregation, Rule, Server
from fedsim.learning.aggregate.fedavg import FedAvg
from fedsim.learning.aggregate.fedprox import FedProx
from fedsim.learning.aggregate.loss_weighted import LossWeighted
from fedsim.learning.aggregate.trimmed_mean import TrimmedMean
from fedsim.learning.aggregate.uniform import Uniform
from fedsim.options import choices_in

AGGREGATIONS = choices_in(__name__, Aggregation)

__all__ = [
    "AGGREGATIONS",
    "Aggregation",
    "FedAdam",
    "FedAvg",
    "FedProx",
    "FedYogi",
    "LossWeighted",
    "Rule",
    "Server",
    "TrimmedMean",
    "Uniform",
]
