"""What a pressure model answers."""

from __future__ import annotations

from pathlib import Path

from fedsim.fleet.who import Floats, Who
from fedsim.options import Choice


class Pressure(Choice):
    """Memory that other programs hold on a client: the base of every pressure model.

    Arguments and answers are float64[n], one for each client of ``who``. They must be a function of the
    client and the instant alone.
    """

    point = "pressure model"

    def bytes_at(self, who: Who, time_s: Floats) -> Floats:
        """What is held at each instant."""
        raise NotImplementedError

    def range_bytes(self, who: Who) -> tuple[Floats, Floats]:
        """What is held at least, at any time, and at most, ever; a wider range costs closer looks."""
        raise NotImplementedError

    def first_exceeds_s(self, who: Who, limit_bytes: Floats, start_s: Floats, end_s: Floats) -> Floats:
        """The first instant in [start_s, end_s) at which more than the limit is held; ``inf`` if none."""
        raise NotImplementedError

    def files(self) -> list[Path]:
        """The files that it is read from."""
        return []

    def load(self) -> Pressure:
        """The model that answers: this, or what its files say.

        Raises:
            InputError: if a file cannot be used.
        """
        return self
