"""Pressure: the memory that other programs of a client's owner hold. One file a model.

Every answer is a pure function of (client, time), piecewise constant in time, so that the first
instant at which it exceeds a limit is exact. What the operating system itself holds is not
pressure; it stands with the device.
"""

from __future__ import annotations

from fedsim.fleet.pressure.base import Pressure
from fedsim.fleet.pressure.constant import Constant
from fedsim.fleet.pressure.named import NAMED, File, named
from fedsim.fleet.pressure.programs import Burst, Programs, Routine
from fedsim.fleet.pressure.replay import Replay

PRESSURES = (*NAMED.values(), Constant, Programs, File, Replay)

__all__ = [
    "NAMED",
    "PRESSURES",
    "Burst",
    "Constant",
    "File",
    "Pressure",
    "Programs",
    "Replay",
    "Routine",
    "named",
]
