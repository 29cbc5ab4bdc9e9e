"""Round-robin: clients in order of their number, going on where the last round stopped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fedsim.engine.availability_cache import AvailabilityCache
from fedsim.engine.records import ClientRounds
from fedsim.engine.selection.base import Selection, SelectionRequest, Selector, will_do
from fedsim.engine.selection.drawn import Drawn
from fedsim.engine.world import Ints, World
from fedsim.options import kind


@dataclass(frozen=True)
class RoundRobin(Selection):
    """Each client in request; who is offline or busy is passed over until the next time round."""

    adaptive = False
    policy: Literal["round-robin"] = kind("round-robin")

    def begin(self, world: World, availability: AvailabilityCache, seed: int) -> Selector:
        """A selector for one simulation; ``seed`` plays no part."""
        return _RoundRobin(world.clients, availability)


class _RoundRobin:
    def __init__(self, clients: int, availability: AvailabilityCache):
        self.clients = clients
        self.availability = availability
        self.next = 0

    def choose(self, request: SelectionRequest) -> Ints:
        found: list[Ints] = []
        missing, looked_at, step = request.count, 0, request.count + 8
        while missing and looked_at < self.clients:
            step = min(step, self.clients - looked_at)
            some = (self.next + looked_at + np.arange(step, dtype=np.int64)) % self.clients
            looked_at += step
            good = some[will_do(self.availability, some, request)][:missing]
            found.append(good)
            missing -= good.size
            step *= 2
        chosen = np.concatenate(found) if found else np.zeros(0, dtype=np.int64)
        if chosen.size:
            self.next = int(chosen[-1] + 1) % self.clients
        return chosen

    def drawn(self) -> Drawn | None:
        """Only one request at a time, since a request depends on the one before."""
        return None

    def learn(self, clients: ClientRounds) -> None:
        """Nothing to note."""

    def state(self) -> dict[str, Any]:
        return {"next": self.next}

    def restore(self, state: dict[str, Any]) -> None:
        self.next = int(state["next"])
