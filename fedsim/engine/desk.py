"""The server's desk: what a synchronous and an asynchronous server have in common."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedsim.engine.charge import Ledger
from fedsim.engine.clock import Clock
from fedsim.engine.plan import Plan
from fedsim.engine.presence import Presence
from fedsim.engine.race import Fates, race
from fedsim.engine.records import ClientRounds
from fedsim.engine.world import Floats, Ints, Learner, Quote, World

ALL_DONE = "all rounds done"
FIRST_RETRY_S, LAST_RETRY_S, PATIENCE_S = 600.0, 86_400.0, 30 * 86_400.0
NOBODY_WILL_DO = "for 30 days the selection has found no client that will do"

State = dict[str, Any]


class Desk:
    """World, plan, learner, clock; who is online, who is chosen, and what charge clients have.

    Attributes:
        next_round: the round that closes next, which is also the version of the model.
    """

    def __init__(self, world: World, plan: Plan, learner: Learner | None, clock: Clock):
        self.world = world
        self.plan = plan
        self.learner = learner
        self.clock = clock
        self.presence = Presence(world)
        self.selector = plan.select.begin(world, self.presence, plan.seed)
        self.ledger = Ledger(world)
        self.next_round = 0

    def price(
        self,
        quote: Quote,
        dispatched_s: Floats,
        charge_j: Floats | None,
        horizon_s: float | Floats,
        *,
        server_down_bytes_per_s: float | None = None,
        server_up_bytes_per_s: float | None = None,
    ) -> Fates:
        """The fates of clients dispatched at those instants; see :func:`fedsim.engine.race.race`."""
        plan = self.plan
        down, up = server_down_bytes_per_s, server_up_bytes_per_s
        return race(
            self.world,
            quote,
            dispatched_s,
            self.presence.until_s(quote.client, dispatched_s),
            horizon_s,
            plan.server_down_bytes_per_s if down is None else down,
            plan.server_up_bytes_per_s if up is None else up,
            self.ledger.battery,
            charge_j,
        )

    def nobody_ever(self) -> str:
        """The reason for ending when no client is online or will be."""
        return f"no client is online at {self.clock.now_s:.0f} s, and none will be"

    def state(self) -> State:
        """Where the run stands: plain numbers, arrays, dicts of them."""
        return {
            "next_round": self.next_round,
            "now_s": self.clock.now_s,
            "selector": self.selector.state(),
            "ledger": self.ledger.state(),
        }

    def restore(self, state: State) -> None:
        """Go on from what :meth:`state` gave."""
        self.next_round = int(state["next_round"])
        self.selector.restore(state["selector"])
        self.ledger.restore(state["ledger"])


def rows_of(quote: Quote, fates: Fates, dispatched_s: Floats, base_round: Ints, index: Ints) -> ClientRounds:
    """The rows of client-rounds as they ended; weight and loss are still to come."""
    n = len(quote)
    return ClientRounds(
        round=index,
        client=quote.client,
        dispatched_s=dispatched_s,
        download_s=fates.download_s,
        compute_s=fates.compute_s,
        upload_s=fates.upload_s,
        ended_s=fates.ended_s,
        outcome=fates.outcome,
        footprint_bytes=quote.footprint_bytes,
        available_bytes=quote.available_bytes,
        downloaded_bytes=fates.downloaded_bytes,
        uploaded_bytes=fates.uploaded_bytes,
        energy_j=fates.energy_j,
        examples=quote.examples,
        weight=np.full(n, np.nan),
        loss=np.full(n, np.nan),
        base_round=base_round,
    )
