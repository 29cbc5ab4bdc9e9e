"""The synchronous server: a cohort, its results, a close, and the next cohort."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

import numpy as np
import simpy

from fedsim.engine.aggregate import close_round
from fedsim.engine.clock import Process
from fedsim.engine.completion import Completion
from fedsim.engine.records import COMPLETED, ClientRounds, RoundRecord
from fedsim.engine.selection import SelectionRequest
from fedsim.engine.server_state import (
    ALL_DONE,
    FIRST_RETRY_S,
    LAST_RETRY_S,
    NOBODY_WILL_DO,
    PATIENCE_S,
    ServerState,
    State,
    rows_of,
)
from fedsim.engine.world import Ints
from fedsim.words import plural

NOBODY = np.zeros(0, dtype=np.int64)


class Synchronous:
    """Rounds one after another; the policy ``close`` says when each ends."""

    def __init__(self, server: ServerState, close: Completion):
        self.server = server
        self.close = close

    def rounds(self) -> Process:
        """The server's process."""
        server, clock = self.server, self.server.clock
        while server.next_round < server.plan.rounds:
            cohort = yield from self._cohort()
            if cohort is None:
                return
            start_s = clock.now_s
            rows, close_s = self._results(cohort, start_s)
            if math.isinf(close_s):
                never = int(np.isinf(rows.ended_s).sum())
                who = f"{never} of {plural(len(rows), 'client')} would never end"
                clock.finish(f"round {server.next_round} can never close: {who}")
                return
            yield clock.until(close_s)
            record = RoundRecord(server.next_round, start_s, close_s, rows)
            close_round(record, server.learner)
            server.selector.learn(record.clients)
            server.next_round += 1
            yield clock.hand_over(record)
        clock.finish(ALL_DONE)

    def _cohort(self) -> Generator[simpy.Event, Any, Ints | None]:
        """Clients for the next round, as soon as there are any; None if there will be none."""
        server, clock = self.server, self.server.clock
        wanted = min(self.close.invited(server.plan.cohort), server.world.clients)
        waited_s, retry_s = 0.0, FIRST_RETRY_S
        while True:
            request = SelectionRequest(server.next_round, server.next_round, clock.now_s, wanted, NOBODY)
            cohort = np.sort(server.selector.choose(request))
            if cohort.size:
                return cohort
            next_s = server.world.next_online_s(clock.now_s)
            if math.isinf(next_s):
                clock.finish(server.nobody_ever())
                return None
            if next_s <= clock.now_s:  # somebody is online, but not to the selection's liking
                if waited_s >= PATIENCE_S:
                    clock.finish(NOBODY_WILL_DO)
                    return None
                next_s = clock.now_s + retry_s
                waited_s, retry_s = waited_s + retry_s, min(2.0 * retry_s, LAST_RETRY_S)
            yield clock.until(next_s)

    def _results(self, cohort: Ints, now_s: float) -> tuple[ClientRounds, float]:
        """The rows of a cohort dispatched now, and when the round closes."""
        server = self.server
        estimate = server.world.estimate(cohort, server.next_round, now_s)
        dispatched = np.full(cohort.size, now_s)
        charge = server.battery_state.charge_j(cohort, dispatched)
        results = server.price(estimate, dispatched, charge, self.close.limit_s())
        close = self.close.close_s(results.after_s, results.outcome == COMPLETED, server.plan.cohort)
        if (results.after_s > close).any():
            # The rest is told to stop; what ended by then stays as it is.
            results = results.kept_where(
                results.after_s <= close, server.price(estimate, dispatched, charge, close)
            )
        index = np.full(cohort.size, server.next_round, dtype=np.int64)
        rows = rows_of(estimate, results, dispatched, index.copy(), index)
        if results.charge_j is not None and not math.isinf(close):
            server.battery_state.note(cohort, rows.ended_s, results.charge_j)
        return rows, max(now_s + close, float(rows.ended_s.max()))

    def state(self) -> State:
        """Nothing beyond the server's."""
        return {}

    def restore(self, state: State) -> None:
        """Nothing beyond the server's."""
