"""The server's server: what a synchronous and an asynchronous server have in common."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedsim.engine.availability_cache import AvailabilityCache
from fedsim.engine.battery_state import BatteryState
from fedsim.engine.clock import Clock
from fedsim.engine.cohort import ClientResults, simulate_cohort
from fedsim.engine.plan import Plan
from fedsim.engine.records import ClientRounds
from fedsim.engine.world import Floats, Ints, Learner, WorkEstimate, World
from fedsim.missing import MISSING

ALL_DONE = "all rounds done"
FIRST_RETRY_S, LAST_RETRY_S, PATIENCE_S = 600.0, 86_400.0, 30 * 86_400.0
NOBODY_WILL_DO = "for 30 days the selection has found no client that will do"

State = dict[str, Any]


class ServerState:
    """World, plan, learner, clock; who is online, who is chosen, and what charge clients have.

    Attributes:
        next_round: the round that closes next, which is also the version of the model.
    """

    def __init__(self, world: World, plan: Plan, learner: Learner | None, clock: Clock):
        self.world = world
        self.plan = plan
        self.learner = learner
        self.clock = clock
        self.availability = AvailabilityCache(world)
        self.selector = plan.select.begin(world, self.availability, plan.seed)
        self.battery_state = BatteryState(world)
        self.next_round = 0

    def price(
        self,
        estimate: WorkEstimate,
        dispatched_s: Floats,
        charge_j: Floats | None,
        horizon_s: float | Floats,
        *,
        server_down_bytes_per_s: float | None = None,
        server_up_bytes_per_s: float | None = None,
    ) -> ClientResults:
        """How clients dispatched at those instants end; see :func:`~fedsim.engine.cohort.simulate_cohort`."""
        plan = self.plan
        down, up = server_down_bytes_per_s, server_up_bytes_per_s
        return simulate_cohort(
            self.world,
            estimate,
            dispatched_s,
            self.availability.until_s(estimate.client, dispatched_s),
            horizon_s,
            plan.server_down_bytes_per_s if down is None else down,
            plan.server_up_bytes_per_s if up is None else up,
            self.battery_state.battery,
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
            "battery_state": self.battery_state.state(),
        }

    def restore(self, state: State) -> None:
        """Go on from what :meth:`state` gave."""
        self.next_round = int(state["next_round"])
        self.selector.restore(state["selector"])
        self.battery_state.restore(state["battery_state"])


def rows_of(
    estimate: WorkEstimate, results: ClientResults, dispatched_s: Floats, base_round: Ints, index: Ints
) -> ClientRounds:
    """The rows of client-rounds as they ended; weight and loss are still to come."""
    n = len(estimate)
    return ClientRounds(
        round=index,
        client=estimate.client,
        dispatched_s=dispatched_s,
        download_s=results.download_s,
        startup_s=results.startup_s,
        compute_s=results.compute_s,
        upload_s=results.upload_s,
        ended_s=results.ended_s,
        outcome=results.outcome,
        footprint_bytes=estimate.footprint_bytes,
        available_bytes=estimate.available_bytes,
        downloaded_bytes=results.downloaded_bytes,
        uploaded_bytes=results.uploaded_bytes,
        energy_j=results.energy_j,
        examples=estimate.examples,
        weight=np.full(n, MISSING),
        loss=np.full(n, MISSING),
        base_round=base_round,
        technique=technique_of(estimate),
    )


def technique_of(estimate: WorkEstimate) -> Ints:
    """int64[n]: in which of the run's ways each client trains."""
    return np.zeros(len(estimate), dtype=np.int64) if estimate.technique is None else estimate.technique
