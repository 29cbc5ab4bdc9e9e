"""What a pressure model answers."""

from __future__ import annotations

from typing import Protocol

from fedsim.fleet.who import Floats, Who


class Pressure(Protocol):
    """Bytes held by other programs; arguments are float64[n], one for each client of ``who``."""

    def bytes_at(self, who: Who, time_s: Floats) -> Floats:
        """What is held at each instant."""
        ...

    def range_bytes(self, who: Who) -> tuple[Floats, Floats]:
        """What is held at least, at any time, and at most, ever; a wider range costs closer looks."""
        ...

    def first_exceeds_s(self, who: Who, limit_bytes: Floats, start_s: Floats, end_s: Floats) -> Floats:
        """The first instant in [start_s, end_s) at which more than the limit is held; ``inf`` if none."""
        ...
