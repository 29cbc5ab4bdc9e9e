"""What a user writes: the scenario's models, loading, overrides and cross-checks."""

from fedsim.scenario.load import Loaded, build, dump, load
from fedsim.scenario.model import Scenario

__all__ = ["Loaded", "Scenario", "build", "dump", "load"]
