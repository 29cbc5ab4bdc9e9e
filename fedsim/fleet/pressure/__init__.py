"""Pressure: the memory that other programs of a client's owner hold. One file a model.

Every answer is a pure function of (client, time), piecewise constant in time, so that the first
instant at which it exceeds a limit is exact. What the operating system itself holds is not
pressure; it stands with the device.
"""

from __future__ import annotations

from fedsim.fleet.hours import Hours
from fedsim.fleet.pressure.base import Pressure
from fedsim.fleet.pressure.constant import Constant
from fedsim.fleet.pressure.dedicated import dedicated
from fedsim.fleet.pressure.laptop import laptop
from fedsim.fleet.pressure.phone import phone
from fedsim.fleet.pressure.programs import Burst, Programs
from fedsim.fleet.pressure.replay import Replay

__all__ = ["Burst", "Constant", "Hours", "Pressure", "Programs", "Replay", "dedicated", "laptop", "phone"]
