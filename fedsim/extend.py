"""What a plug-in is made of: the bases to derive from, and the words to declare options with.

    from fedsim.extend import Completion, Duration, kind, option

A plug-in is one file with one frozen dataclass; ``docs/guide/extending.md`` shows each kind as a whole
file. What is named here stays; what a room has besides may change.
"""

from fedsim.engine.completion import Completion
from fedsim.engine.selection import Selection, SelectionRequest
from fedsim.engine.selection.base import Memoryless, Sampler
from fedsim.engine.world import Bools, Floats, Ints, WorkEstimate, World
from fedsim.fleet.availability import Availability
from fedsim.fleet.pressure import Pressure
from fedsim.fleet.who import Who
from fedsim.learning.aggregate import Aggregation, Rule, Server
from fedsim.learning.aggregate.mean import WeightedMean
from fedsim.options import (
    Bounds,
    Duration,
    DurationOrZero,
    Energy,
    Power,
    Rate,
    Size,
    SizeOrZero,
    kind,
    option,
)
from fedsim.plugins import plugin
from fedsim.tasks.base import Data, Metric, Outcome, Task
from fedsim.tasks.base import Size as SizeAxis

__all__ = [
    "Aggregation",
    "Availability",
    "Bools",
    "Bounds",
    "Completion",
    "Data",
    "Duration",
    "DurationOrZero",
    "Energy",
    "Floats",
    "Ints",
    "Memoryless",
    "Metric",
    "Outcome",
    "Power",
    "Pressure",
    "Rate",
    "Rule",
    "Sampler",
    "Selection",
    "SelectionRequest",
    "Server",
    "Size",
    "SizeAxis",
    "SizeOrZero",
    "Task",
    "WeightedMean",
    "Who",
    "WorkEstimate",
    "World",
    "kind",
    "option",
    "plugin",
]
