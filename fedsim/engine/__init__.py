"""The engine: who delivers an update, and when.

It is handed a :class:`World` (seconds, bytes, watts), a :class:`Plan` (the server's policies) and
perhaps a :class:`Learner`, and reports one :class:`RoundRecord` a round. A cohort's results are
priced at once in numpy (:mod:`fedsim.engine.cohort`); SimPy's clock carries the server.
"""

from __future__ import annotations

from fedsim.engine.completion import Buffered, Completion, Deadline, Quorum, WaitAll
from fedsim.engine.plan import Plan
from fedsim.engine.records import ClientRounds, Ending, RoundRecord
from fedsim.engine.selection import (
    FastestFirst,
    MemoryAware,
    Oort,
    Random,
    RoundRobin,
    Selection,
    SelectionRequest,
    Selector,
)
from fedsim.engine.server import Simulation, simulate
from fedsim.engine.world import Battery, Learner, RoundLearning, WorkEstimate, World
from fedsim.outcomes import OUTCOMES

__all__ = [
    "OUTCOMES",
    "Battery",
    "Buffered",
    "ClientRounds",
    "Completion",
    "Deadline",
    "Ending",
    "FastestFirst",
    "Learner",
    "MemoryAware",
    "Oort",
    "Plan",
    "Quorum",
    "Random",
    "RoundLearning",
    "RoundRecord",
    "RoundRobin",
    "Selection",
    "SelectionRequest",
    "Selector",
    "Simulation",
    "WaitAll",
    "WorkEstimate",
    "World",
    "simulate",
]
