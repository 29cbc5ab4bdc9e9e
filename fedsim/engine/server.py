"""The server: a SimPy process that chooses cohorts, closes rounds and calls the learner.

:func:`simulate` runs to the end. :class:`Simulation` gives one record after another and can be
asked for its state between two of them; a simulation begun from that state goes on as if it had
never stopped. The clock that records show is exact: SimPy's own is brought to it by the delay left,
so its rounding never adds up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np
import simpy

from fedsim.engine.aggregate import close_round
from fedsim.engine.charge import Ledger
from fedsim.engine.plan import Plan
from fedsim.engine.presence import Presence
from fedsim.engine.race import race
from fedsim.engine.records import COMPLETED, ClientRounds, Ending, RoundRecord
from fedsim.engine.selection import Turn
from fedsim.engine.world import Ints, Learner, World

ALL_DONE = "all rounds done"
FIRST_RETRY_S, LAST_RETRY_S, PATIENCE_S = 600.0, 86_400.0, 30 * 86_400.0
NOBODY = np.zeros(0, dtype=np.int64)

State = dict[str, Any]
Process = Generator[simpy.Event, Any, None]


def simulate(
    world: World,
    plan: Plan,
    learner: Learner | None = None,
    observe: Callable[[RoundRecord], None] | None = None,
    state: State | None = None,
) -> Ending:
    """Run a plan to its end.

    Args:
        world: clients, and what rounds take them.
        plan: what the server does.
        learner: what turns updates into a model; without one the run is timing-only, with the same
            times and outcomes (``rejected`` aside, which only a learner can decide).
        observe: called at the close of each round, in order.
        state: what :meth:`Simulation.state` gave at the close of an earlier round, to go on from.
    """
    simulation = Simulation(world, plan, learner, state)
    for record in simulation:
        if observe is not None:
            observe(record)
    assert simulation.ending is not None
    return simulation.ending


class Simulation:
    """One run of a plan, round by round.

    Iterating gives a :class:`RoundRecord` at each close. ``ending`` is set when there are no more.
    """

    def __init__(self, world: World, plan: Plan, learner: Learner | None = None, state: State | None = None):
        self.world = world
        self.plan = plan
        self.learner = learner
        self.ending: Ending | None = None
        self._presence = Presence(world)
        self._selector = plan.select.begin(world, self._presence, plan.seed)
        self._ledger = Ledger(world)
        self._next_round = 0
        self._now_s = 0.0
        if state is not None:
            self._next_round = int(state["next_round"])
            self._now_s = float(state["now_s"])
            self._selector.restore(state["selector"])
            self._ledger.restore(state["ledger"])
        self._environment = simpy.Environment(initial_time=self._now_s)
        self._go_on: simpy.Event | None = None
        self._closed = self._environment.event()
        self._environment.process(self._rounds())

    def state(self) -> State:
        """What a simulation that goes on from here needs: plain numbers, arrays, dicts of them."""
        return {
            "next_round": self._next_round,
            "now_s": self._now_s,
            "selector": self._selector.state(),
            "ledger": self._ledger.state(),
        }

    def __iter__(self) -> Iterator[RoundRecord]:
        while self.ending is None:
            if self._go_on is not None:
                self._go_on.succeed()
            record = self._environment.run(until=self._closed)
            self._closed = self._environment.event()
            if record is not None:
                yield record

    def _until(self, time_s: float) -> simpy.Event:
        """An event at ``time_s``, which is the clock from then on."""
        self._now_s = max(self._now_s, time_s)
        return self._environment.timeout(max(time_s - self._environment.now, 0.0))

    def _hand_over(self, record: RoundRecord) -> simpy.Event:
        """Give a record to whoever iterates; the event comes when the next one is asked for."""
        self._go_on = self._environment.event()
        self._closed.succeed(record)
        return self._go_on

    def _end(self, reason: str) -> None:
        self.ending = Ending(self._next_round, reason, self._now_s)
        self._closed.succeed(None)

    def _rounds(self) -> Process:
        """The server of synchronous rounds."""
        while self._next_round < self.plan.rounds:
            cohort = yield from self._cohort()
            if cohort is None:
                return
            rows, close_s = self._fates(cohort, self._now_s)
            if math.isinf(close_s):
                never = int(np.isinf(rows.ended_s).sum())
                who = f"{never} of {len(rows)} clients would never end"
                self._end(f"round {self._next_round} can never close: {who}")
                return
            start_s = self._now_s
            yield self._until(close_s)
            record = RoundRecord(self._next_round, start_s, close_s, rows)
            close_round(record, self.learner)
            self._selector.learn(record.clients)
            self._next_round += 1
            yield self._hand_over(record)
        self._end(ALL_DONE)

    def _cohort(self) -> Generator[simpy.Event, Any, Ints | None]:
        """Clients for the next round, as soon as there are any; None if there will be none."""
        wanted = min(self.plan.close.invited(self.plan.cohort), self.world.clients)
        waited_s, retry_s = 0.0, FIRST_RETRY_S
        while True:
            turn = Turn(self._next_round, self._next_round, self._now_s, wanted, NOBODY)
            cohort = self._selector.choose(turn)
            if cohort.size:
                return cohort
            next_s = self.world.next_online_s(self._now_s)
            if math.isinf(next_s):
                self._end(f"no client is online at {self._now_s:.0f} s, and none will be")
                return None
            if next_s <= self._now_s:  # somebody is online, but not to the selection's liking
                if waited_s >= PATIENCE_S:
                    self._end(
                        f"the selection has found no client that will do for {waited_s / 86_400.0:.0f} days"
                    )
                    return None
                next_s = self._now_s + retry_s
                waited_s, retry_s = waited_s + retry_s, min(2.0 * retry_s, LAST_RETRY_S)
            yield self._until(next_s)

    def _fates(self, cohort: Ints, now_s: float) -> tuple[ClientRounds, float]:
        """The rows of a cohort dispatched now, and when the round closes."""
        plan = self.plan
        quote = self.world.quote(cohort, self._next_round, now_s)
        dispatched = np.full(cohort.size, now_s)
        offline = self._presence.until_s(cohort, now_s)
        charge = self._ledger.charge_j(cohort, dispatched)

        def run(horizon_s: float) -> Any:
            return race(
                self.world,
                quote,
                dispatched,
                offline,
                horizon_s,
                plan.server_down_bytes_per_s,
                plan.server_up_bytes_per_s,
                self._ledger.battery,
                charge,
            )

        fates = run(plan.close.limit_s())
        close = plan.close.close_s(fates.after_s, fates.outcome == COMPLETED, plan.cohort)
        if (fates.after_s > close).any():
            fates = run(close)  # who is not done by then is told to stop; nothing before it changes
        ended = now_s + fates.after_s
        n = cohort.size
        if fates.charge_j is not None and not math.isinf(close):
            self._ledger.note(cohort, ended, fates.charge_j)
        rows = ClientRounds(
            round=np.full(n, self._next_round, dtype=np.int64),
            client=quote.client,
            dispatched_s=dispatched,
            download_s=fates.download_s,
            compute_s=fates.compute_s,
            upload_s=fates.upload_s,
            ended_s=ended,
            outcome=fates.outcome,
            footprint_bytes=quote.footprint_bytes,
            available_bytes=quote.available_bytes,
            downloaded_bytes=fates.downloaded_bytes,
            uploaded_bytes=fates.uploaded_bytes,
            energy_j=fates.energy_j,
            examples=quote.examples,
            weight=np.full(n, np.nan),
            loss=np.full(n, np.nan),
            base_round=np.full(n, self._next_round, dtype=np.int64),
        )
        return rows, now_s + close
