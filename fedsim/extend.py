"""What a plug-in is made of: the bases to derive from, and the words to declare options with.

    from fedsim.extend import Completion, Duration, kind, option

A plug-in is one file with one frozen dataclass; ``docs/guide/extending.md`` shows each kind as a whole
file. What is named here stays; what a room has besides may change.
"""

from fedsim.engine.completion import Completion
from fedsim.engine.selection import Selection, SelectionRequest
from fedsim.engine.selection.base import Memoryless, Sampler
from fedsim.engine.world import Bools, Floats, Ints, WorkEstimate, World
from fedsim.options import Bounds, Duration, Energy, Power, Rate, Size, kind, option
from fedsim.plugins import plugin

__all__ = [
    "Bools",
    "Bounds",
    "Completion",
    "Duration",
    "Energy",
    "Floats",
    "Ints",
    "Memoryless",
    "Power",
    "Rate",
    "Sampler",
    "Selection",
    "SelectionRequest",
    "Size",
    "WorkEstimate",
    "World",
    "kind",
    "option",
    "plugin",
]
