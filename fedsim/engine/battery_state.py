"""The charge of every battery, as the engine keeps it between a client's rounds."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedsim.engine.world import Battery, Floats, Ints, World


class BatteryState:
    """Charge of each client at the end of its last round; a world without batteries needs none."""

    def __init__(self, world: World):
        self.battery: Battery | None = world.battery
        self._charge_j = np.zeros(0)
        self._at_s = np.zeros(0)
        if self.battery is not None:
            self._charge_j = np.full(world.clients, np.nan)  # nan: never dispatched yet
            self._at_s = np.zeros(world.clients)

    def charge_j(self, clients: Ints, time_s: Floats) -> Floats | None:
        """Charge of each client at ``time_s``; None in a world without batteries."""
        if self.battery is None:
            return None
        charge = self._charge_j[clients]
        new = np.isnan(charge)
        if new.any():
            charge[new] = self.battery.initial_j(clients[new])
        now, _ = self.battery.drain(clients, charge, self._at_s[clients], time_s, np.zeros(clients.size))
        return now

    def note(self, clients: Ints, time_s: Floats, charge_j: Floats) -> None:
        """The charge that each client has at ``time_s``, the end of its round."""
        self._charge_j[clients] = charge_j
        self._at_s[clients] = time_s

    def state(self) -> dict[str, Any]:
        """The clients dispatched so far, their charge and when they had it."""
        known = np.flatnonzero(~np.isnan(self._charge_j))
        return {"client": known, "charge_j": self._charge_j[known], "at_s": self._at_s[known]}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        if self.battery is not None:
            self.note(np.asarray(state["client"]), np.asarray(state["at_s"]), np.asarray(state["charge_j"]))
