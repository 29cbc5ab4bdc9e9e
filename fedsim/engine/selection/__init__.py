"""Selection: whom the server asks. One file a policy.

A policy is frozen data with one method, ``begin``, that gives a selector for one simulation; what
a selector remembers is in its ``state``, so that a run can be taken up again. A selector offers
only clients that are online and not busy, and looks at no more of the fleet than it needs.
"""

from __future__ import annotations

from fedsim.engine.selection.base import Selection, SelectionRequest, Selector
from fedsim.engine.selection.fastest_first import FastestFirst
from fedsim.engine.selection.memory_aware import MemoryAware
from fedsim.engine.selection.oort import Oort
from fedsim.engine.selection.random import Random
from fedsim.engine.selection.round_robin import RoundRobin
from fedsim.options import choices_in

SELECTIONS = choices_in(__name__, Selection)

__all__ = [
    "SELECTIONS",
    "FastestFirst",
    "MemoryAware",
    "Oort",
    "Random",
    "RoundRobin",
    "Selection",
    "SelectionRequest",
    "Selector",
]
