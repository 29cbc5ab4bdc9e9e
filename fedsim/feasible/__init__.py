"""Are we there yet: the first hardware year in which training a model on a device becomes practical.

A question is a device, a model, a size of example and a technique. It is priced once, as sold; a
trend then makes memory larger and each part of a step shorter, and every criterion has a first year
in which it holds. The one that holds last binds. Growth that is uncertain is drawn at random, all
draws at once.
"""

from __future__ import annotations

from fedsim.feasible.answer import Answer, Finding, answer, earliest
from fedsim.feasible.background import Background, background
from fedsim.feasible.question import Limits, Procedure, Question
from fedsim.feasible.uncertain import Spread, spread

__all__ = [
    "Answer",
    "Background",
    "Finding",
    "Limits",
    "Procedure",
    "Question",
    "Spread",
    "answer",
    "background",
    "earliest",
    "spread",
]
