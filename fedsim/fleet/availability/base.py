"""What an availability model answers."""

from __future__ import annotations

from pathlib import Path

from fedsim.fleet.who import Floats, Who
from fedsim.options import Choice


class Availability(Choice):
    """When a client is reachable and willing: the base of every availability model.

    Answers are float64[n], one for each client of ``who``, from its instant ``time_s`` (float64[n]) on.
    They must be a function of the client and the instant alone.
    """

    point = "availability model"

    def offline_from_s(self, who: Who, time_s: Floats) -> Floats:
        """The first instant at which each client is not online, its own if it is not now; ``inf``: never."""
        raise NotImplementedError

    def online_from_s(self, who: Who, time_s: Floats) -> Floats:
        """The first instant at which each client is online, its own if it is now; ``inf``: never again."""
        raise NotImplementedError

    def files(self) -> list[Path]:
        """The files that it is read from."""
        return []

    def load(self) -> Availability:
        """The model that answers: this, or what its files say.

        Raises:
            InputError: if a file cannot be used.
        """
        return self
