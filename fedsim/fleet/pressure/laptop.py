"""Laptop: a browser and its like in working hours, now and then something heavy.

The figures are estimated: a browser with an office suite holds some gigabytes, a video call or a
build several more. They count beyond what the device's own file gives for the system.
"""

from __future__ import annotations

from fedsim.fleet.hours import Hours
from fedsim.fleet.pressure.programs import Burst, Programs
from fedsim.units import GB, HOUR_S, MINUTE_S

WORK = Hours(9 * HOUR_S, 19 * HOUR_S)
AWAKE = Hours(8 * HOUR_S, 24 * HOUR_S)


def laptop() -> Programs:
    """1 GB at rest, 3 GB in working hours, 4.5 GB for minutes twice an hour, 8 GB once or twice a day."""
    return Programs(
        base_bytes=1.0 * GB,
        routine=((2.0 * GB, WORK),),
        bursts=(
            Burst(3.5 * GB, every_s=30 * MINUTE_S, lasts_s=8 * MINUTE_S, hours=AWAKE),
            Burst(7.0 * GB, every_s=10 * HOUR_S, lasts_s=30 * MINUTE_S, hours=AWAKE),
        ),
        spread=0.35,
    )
