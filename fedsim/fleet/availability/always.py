"""Always: online at any time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedsim.fleet.who import Bools, Floats, Who


@dataclass(frozen=True)
class Always:
    """A machine that is left on and connected."""

    def online(self, who: Who, time_s: Floats) -> Bools:
        return np.ones(who.index.size, dtype=np.bool_)

    def offline_from_s(self, who: Who, time_s: Floats) -> Floats:
        return np.full(who.index.size, np.inf)

    def online_from_s(self, who: Who, time_s: Floats) -> Floats:
        return np.array(time_s, dtype=np.float64)
