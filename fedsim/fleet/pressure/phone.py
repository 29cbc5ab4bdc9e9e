"""Phone: little at night, applications by day, now and then a hungry one.

The figures are estimated: what common applications hold in memory is a few hundred megabytes, a
camera, a game or a browser with many pages one to two gigabytes. They count beyond what the
device's own file gives for the system and its services.
"""

from __future__ import annotations

from fedsim.fleet.hours import Hours
from fedsim.fleet.pressure.programs import Burst, Programs
from fedsim.units import GB, HOUR_S, MINUTE_S

AWAKE = Hours(7 * HOUR_S, 23.5 * HOUR_S)


def phone() -> Programs:
    """0.3 GB at rest, 0.6 GB by day, 1.0 GB for minutes several times an hour, 2.2 GB a few times a day."""
    return Programs(
        base_bytes=0.3 * GB,
        routine=((0.3 * GB, AWAKE),),
        bursts=(
            Burst(0.7 * GB, every_s=15 * MINUTE_S, lasts_s=4 * MINUTE_S, hours=AWAKE),
            Burst(1.9 * GB, every_s=4 * HOUR_S, lasts_s=15 * MINUTE_S, hours=AWAKE),
        ),
        spread=0.35,
    )
