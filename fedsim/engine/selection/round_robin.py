"""Round-robin: clients in order of their number, going on where the last round stopped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fedsim.engine.presence import Presence
from fedsim.engine.records import ClientRounds
from fedsim.engine.selection.base import Selector, Turn, will_do
from fedsim.engine.selection.drawn import Drawn
from fedsim.engine.world import Ints, World


@dataclass(frozen=True)
class RoundRobin:
    """Each client in turn; who is offline or busy is passed over until the next time round."""

    def begin(self, world: World, presence: Presence, seed: int) -> Selector:
        """A selector for one simulation; ``seed`` plays no part."""
        return _RoundRobin(world.clients, presence)


class _RoundRobin:
    def __init__(self, clients: int, presence: Presence):
        self.clients = clients
        self.presence = presence
        self.next = 0

    def choose(self, turn: Turn) -> Ints:
        found: list[Ints] = []
        missing, looked_at, step = turn.count, 0, turn.count + 8
        while missing and looked_at < self.clients:
            step = min(step, self.clients - looked_at)
            some = (self.next + looked_at + np.arange(step, dtype=np.int64)) % self.clients
            looked_at += step
            good = some[will_do(self.presence, some, turn)][:missing]
            found.append(good)
            missing -= good.size
            step *= 2
        chosen = np.concatenate(found) if found else np.zeros(0, dtype=np.int64)
        if chosen.size:
            self.next = int(chosen[-1] + 1) % self.clients
        return chosen

    def drawn(self) -> Drawn | None:
        """Only one turn at a time, since a turn depends on the one before."""
        return None

    def learn(self, clients: ClientRounds) -> None:
        """Nothing to note."""

    def state(self) -> dict[str, Any]:
        return {"next": self.next}

    def restore(self, state: dict[str, Any]) -> None:
        self.next = int(state["next"])
