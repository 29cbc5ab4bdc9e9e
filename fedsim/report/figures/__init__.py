"""The report's pictures, one module a family.

A picture is a :class:`~fedsim.report.figures.chart.Chart`: whether there is something to show, the
finding as a sentence, a caption that says how to read it, and a function that draws it in a theme.
"""

from __future__ import annotations

from fedsim.report.digest import Digest
from fedsim.report.figures import (
    convergence,
    energy,
    gantt,
    memory,
    participation,
    phases,
    rounds,
)
from fedsim.report.figures.chart import Chart

#: In the order in which the report shows them.
CHARTS: tuple[Chart[Digest], ...] = (
    convergence.CHART,
    rounds.CHART,
    phases.CHART,
    gantt.CHART,
    memory.CHART,
    energy.CHART,
    participation.CHART,
)

__all__ = ["CHARTS", "Chart"]
