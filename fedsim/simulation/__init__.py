"""The composition root: a scenario becomes a world, a plan and a learner, and a run directory."""

from fedsim.simulation.compose import Composition, compose
from fedsim.simulation.execute import resume, run, time_rounds

__all__ = ["Composition", "compose", "resume", "run", "time_rounds"]
