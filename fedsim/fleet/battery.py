"""Batteries: a charge that work spends and the owner's charger restores.

A battery charges at a constant power while it is plugged in, which is at the same hours of every
local day, up to its capacity. What the owner's own use takes is left out: the capacity and its
shares are of what the owner leaves to training. At time 0 the charge is uniform between the floor
and full.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fedsim import rng
from fedsim.fleet.hours import NIGHT, Hours, next_edge, within
from fedsim.fleet.who import Floats, Ints
from fedsim.options import Energy, Options, Power, option
from fedsim.units import DAY_S

LOOK_AHEAD_S = 366 * DAY_S  # a battery not empty after a year of the same work never is


@dataclass(frozen=True, kw_only=True)
class Battery(Options):
    """What a client runs on when it is not plugged in."""

    capacity: Energy | None = option(None, "when full; by default the device's own battery", le=1e12)
    floor: float = option(0.2, "share of a full charge at which a client gives up", ge=0, lt=1)
    start: float = option(0.3, "share of a full charge that it takes to accept work", gt=0, le=1)
    charge: Power = option(10.0, "power at which it charges while plugged in", le=1e6)
    plugged: Literal["overnight", "never"] | Hours = option(
        "overnight",
        "when it is plugged in: 22h to 30h, never, or hours of one's own",
        right="overnight, never or hours such as {opens: 9h, closes: 17h}",
    )

    def __post_init__(self) -> None:
        if self.start <= self.floor:
            raise ValueError(f"start {self.start:g} must lie above floor {self.floor:g}")

    @property
    def hours(self) -> Hours | None:
        """When it is plugged in; None if it never is."""
        if isinstance(self.plugged, Hours):
            return self.plugged
        return NIGHT if self.plugged == "overnight" else None


class Batteries:
    """The batteries of a fleet; a client of a group without one has infinite charge.

    Args:
        models: one for each group, or None.
        group: int16[clients].
        utc_offset_s: float64[clients].
        seed: of the fleet.
    """

    def __init__(
        self, models: Sequence[Battery | None], group: NDArray[np.int16], utc_offset_s: Floats, seed: int
    ):
        self._group = group
        self._offset = utc_offset_s
        self._stream = rng.key(seed, "fleet", "battery")
        rows = [_figures(model) for model in models]
        self._capacity, self._floor, self._start, self._charge_w, self._from, self._until = np.array(rows).T

    def initial_j(self, clients: Ints) -> Floats:
        """Charge at time 0."""
        g = self._group[clients]
        share = rng.uniforms(self._stream, clients)
        with np.errstate(invalid="ignore"):
            charge = self._floor[g] + share * (self._capacity[g] - self._floor[g])
        return np.where(np.isfinite(self._capacity[g]), charge, np.inf)

    def start_j(self, clients: Ints) -> Floats:
        """Charge that a client needs to accept work."""
        return np.asarray(self._start[self._group[clients]])

    def drain(
        self, clients: Ints, charge_j: Floats, start_s: Floats, end_s: Floats, power_w: Floats
    ) -> tuple[Floats, Floats]:
        """Spend a constant power, charging where plugged in; see :class:`fedsim.engine.Battery`.

        Goes from one change of the plug to the next. A battery that is not lower when it is plugged
        in than it was a day before, or that lasts a year, is taken never to be empty.
        """
        charge = np.array(charge_j, dtype=np.float64)
        empty = np.full(charge.size, np.inf)
        now = np.array(start_s, dtype=np.float64)
        last = np.minimum(end_s, now + LOOK_AHEAD_S)
        endless = np.isinf(end_s)
        when_plugged = np.full(charge.size, -np.inf)  # charge when it was last plugged in
        todo = np.flatnonzero(np.isfinite(charge))
        drained = todo[charge[todo] <= self._floor[self._group[clients[todo]]]]
        empty[drained] = now[drained]
        todo = todo[(now[todo] < last[todo]) & ~(endless[todo] & np.isfinite(empty[todo]))]
        while todo.size:
            g, offset, at = self._group[clients[todo]], self._offset[clients[todo]], now[todo]
            plugged = within(self._from[g], self._until[g], offset, at) & (self._charge_w[g] > 0.0)
            fixed = (self._charge_w[g] <= 0.0) | (self._until[g] - self._from[g] >= DAY_S)
            edge = next_edge(self._from[g], self._until[g], offset, at)
            until = np.minimum(np.where(fixed, np.inf, edge), last[todo])
            net_w = power_w[todo] - np.where(plugged, self._charge_w[g], 0.0)
            spent = net_w * (until - at)
            left = charge[todo] - self._floor[g]
            out = np.flatnonzero((net_w > 0.0) & (spent >= left) & np.isinf(empty[todo]))
            empty[todo[out]] = np.minimum(at[out] + left[out] / net_w[out], until[out])
            charge[todo] = np.minimum(charge[todo] - spent, self._capacity[g])
            now[todo] = until
            steady = ~plugged & (charge[todo] >= when_plugged[todo]) & np.isfinite(when_plugged[todo])
            when_plugged[todo] = np.where(plugged, when_plugged[todo], charge[todo])
            full = (power_w[todo] <= 0.0) & (charge[todo] >= self._capacity[g])
            over = endless[todo] & (steady | np.isfinite(empty[todo]))
            todo = todo[(until < last[todo]) & ~over & ~full]
        return charge, empty


def _figures(model: Battery | None) -> tuple[float, ...]:
    """Capacity, floor and start in joules, power of charging, and the hours of the plug."""
    if model is None or model.capacity is None:
        return math.inf, -math.inf, -math.inf, 0.0, 0.0, DAY_S
    full, hours = model.capacity, model.hours
    charge = (full, model.floor * full, model.start * full)
    return (*charge, 0.0, 0.0, DAY_S) if hours is None else (*charge, model.charge, hours.opens, hours.closes)
