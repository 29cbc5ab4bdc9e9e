"""The engine: who delivers an update, and when.

It is handed a :class:`World` (seconds, bytes, watts), a :class:`Plan` (the server's policies) and
perhaps a :class:`Learner`, and reports one :class:`RoundRecord` a round. A cohort's fates are
priced at once in numpy (:mod:`fedsim.engine.race`); SimPy's clock carries the server.
"""

from __future__ import annotations

from fedsim.engine.closing import Closing, Deadline, WaitAll
from fedsim.engine.plan import Plan
from fedsim.engine.records import OUTCOMES, ClientRounds, Ending, RoundRecord
from fedsim.engine.selection import Random, Selection, Selector, Turn
from fedsim.engine.server import Simulation, simulate
from fedsim.engine.world import Battery, Learner, Quote, RoundLearning, World

__all__ = [
    "OUTCOMES",
    "Battery",
    "ClientRounds",
    "Closing",
    "Deadline",
    "Ending",
    "Learner",
    "Plan",
    "Quote",
    "Random",
    "RoundLearning",
    "RoundRecord",
    "Selection",
    "Selector",
    "Simulation",
    "Turn",
    "WaitAll",
    "World",
    "simulate",
]
