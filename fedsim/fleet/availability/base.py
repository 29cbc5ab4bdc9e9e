"""What an availability model answers."""

from __future__ import annotations

from typing import Protocol

from fedsim.fleet.who import Bools, Floats, Who


class Availability(Protocol):
    """When clients are online; ``time_s`` is float64[n], one instant for each client of ``who``."""

    def online(self, who: Who, time_s: Floats) -> Bools:
        """Whether each client is online at its instant."""
        ...

    def offline_from_s(self, who: Who, time_s: Floats) -> Floats:
        """The first instant from its own on at which each client is not online; ``inf`` if none."""
        ...

    def online_from_s(self, who: Who, time_s: Floats) -> Floats:
        """The first instant from its own on at which each client is online; ``inf`` if none."""
        ...
