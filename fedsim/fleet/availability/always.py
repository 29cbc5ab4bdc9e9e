"""Always: online at any time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from fedsim.fleet.availability.base import Availability
from fedsim.fleet.who import Floats, Who
from fedsim.options import kind


@dataclass(frozen=True)
class Always(Availability):
    """At any time."""

    kind: Literal["always"] = kind("always")

    def offline_from_s(self, who: Who, time_s: Floats) -> Floats:
        return np.full(who.index.size, np.inf)

    def online_from_s(self, who: Who, time_s: Floats) -> Floats:
        return np.array(time_s, dtype=np.float64)
