"""A group: the clients of a fleet that share a device model and habits."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fedsim.errors import ScenarioError
from fedsim.fleet.availability import Always, Availability
from fedsim.fleet.battery import Battery
from fedsim.fleet.pressure import Constant, Pressure
from fedsim.hardware import Link

ALWAYS, NOTHING = Always(), Constant(0.0)


@dataclass(frozen=True)
class Group:
    """One line of a fleet's mix.

    Attributes:
        device: name of the device model.
        share: of the fleet's clients; shares are divided by their sum.
        link: what its clients are connected by; their rates differ by the link's own spread.
        availability: when its clients are online.
        pressure: what other programs hold on them.
        speed_spread: sigma of the log-normal factor by which clients' speeds differ; median 1.
        memory_spread: sigma of the log-normal factor on what the system itself holds; median 1.
        utc_offsets_s: what local clocks show beyond UTC; each client has one of these, at random.
        battery: what its clients run on; None if they are always plugged in.
        crash_per_s: rate at which a client at work crashes.
        training: how its clients train, in words, where that is its own.
    """

    device: str
    share: float
    link: Link
    availability: Availability = ALWAYS
    pressure: Pressure = NOTHING
    speed_spread: float = 0.0
    memory_spread: float = 0.0
    utc_offsets_s: tuple[float, ...] = (0.0,)
    battery: Battery | None = None
    crash_per_s: float = 0.0
    training: str = ""

    def __post_init__(self) -> None:
        if not (self.share > 0.0 and math.isfinite(self.share)):
            raise ScenarioError(f"{self.share} is no share of a fleet; give a positive number")
        for name, value in (("speed", self.speed_spread), ("memory", self.memory_spread)):
            if not 0.0 <= value <= 3.0:
                raise ScenarioError(f"{value} is no spread of {name}; give the sigma of a log-normal, 0 to 3")
        if not self.utc_offsets_s or any(
            offset != int(offset) or abs(offset) > 18 * 3600 for offset in self.utc_offsets_s
        ):
            raise ScenarioError("a client's clock is a whole number of seconds from UTC, at most 18 hours")
        if not 0.0 <= self.crash_per_s <= 1.0:
            raise ScenarioError(f"{self.crash_per_s} is no rate of crashes; give 0 to 1 per second")

    def canonical(self) -> str:
        """A text that is the same for equal groups, by which a fleet puts its groups in order."""
        link = (
            self.link.name,
            self.link.down_bytes_per_s,
            self.link.up_bytes_per_s,
            self.link.latency_s,
            self.link.spread,
            self.link.radio_w,
        )
        rest = (self.availability, self.pressure, self.speed_spread, self.memory_spread)
        own = (self.training,) if self.training else ()
        return repr(
            (self.device, link, *rest, self.utc_offsets_s, self.battery, self.crash_per_s, self.share, *own)
        )
