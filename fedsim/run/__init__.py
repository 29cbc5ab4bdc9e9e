"""The composition root: a scenario becomes a world, a plan and a learner, and a run directory."""

from fedsim.rooms import make_callable
from fedsim.run.compose import Composition, compose
from fedsim.run.execute import resume, run, time_rounds

__all__ = ["Composition", "compose", "resume", "run", "time_rounds"]

make_callable(__name__)
