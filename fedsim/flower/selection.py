"""The selection of an app: whom its strategy asks, of those whom the fleet offers.

The fleet offers the clients that are online at that instant of the simulated clock, or those whom
the scenario's own policy chooses among them; the strategy asks some or all of these. As each round
is looked at before it is run, an answer is kept and given again for the same occasion.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim.engine.availability_cache import AvailabilityCache
from fedsim.engine.records import ClientRounds
from fedsim.engine.selection import Selection, SelectionRequest, Selector
from fedsim.engine.selection.base import will_do
from fedsim.engine.world import World

Ints = NDArray[np.int64]
Ask = Callable[[Ints, float], Ints]


class AskedNobody(Exception):
    """The strategy asks nobody in this round, though clients were on offer."""


class Asked(Selection):
    """A selection that asks the app's strategy.

    Args:
        policy: the scenario's policy, which chooses whom to offer; None offers everyone online.

    Attributes:
        ask: gives, from the clients on offer (ascending) and the time, those that the strategy asks;
            none if it waits for more. Set before each round.
        answers: by occasion; emptied after each round.
    """

    def __init__(self, policy: Selection | None) -> None:
        self.policy = policy
        self.ask: Ask | None = None
        self.answers: dict[tuple[int, float], Ints] = {}

    def begin(self, world: World, availability: AvailabilityCache, seed: int) -> Selector:
        """A selector for one simulation."""
        policy = None if self.policy is None else self.policy.begin(world, availability, seed)
        return _Asker(self, world.clients, availability, policy)


class _Asker:
    def __init__(
        self, asked: Asked, clients: int, availability: AvailabilityCache, policy: Selector | None
    ) -> None:
        self.asked = asked
        self.everyone = np.arange(clients, dtype=np.int64)
        self.availability = availability
        self.policy = policy

    def choose(self, request: SelectionRequest) -> Ints:
        if self.policy is not None:
            offered = np.sort(self.policy.choose(request))
        else:
            offered = self.everyone[will_do(self.availability, self.everyone, request)]
        if not offered.size:
            return offered
        occasion = (request.number, request.time_s)
        if occasion not in self.asked.answers:
            assert self.asked.ask is not None
            self.asked.answers[occasion] = self.asked.ask(offered, request.time_s)
        return self.asked.answers[occasion]

    def drawn(self) -> None:
        return None

    def learn(self, clients: ClientRounds) -> None:
        if self.policy is not None:
            self.policy.learn(clients)

    def state(self) -> dict[str, Any]:
        return {} if self.policy is None else self.policy.state()

    def restore(self, state: dict[str, Any]) -> None:
        if self.policy is not None:
            self.policy.restore(state)
