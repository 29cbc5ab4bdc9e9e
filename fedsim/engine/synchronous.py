"""The synchronous server: a cohort, its fates, a close, and the next cohort."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

import numpy as np
import simpy

from fedsim.engine.aggregate import close_round
from fedsim.engine.clock import Process
from fedsim.engine.closing import Closing
from fedsim.engine.desk import (
    ALL_DONE,
    FIRST_RETRY_S,
    LAST_RETRY_S,
    NOBODY_WILL_DO,
    PATIENCE_S,
    Desk,
    State,
    rows_of,
)
from fedsim.engine.records import COMPLETED, ClientRounds, RoundRecord
from fedsim.engine.selection import Turn
from fedsim.engine.world import Ints

NOBODY = np.zeros(0, dtype=np.int64)


class Synchronous:
    """Rounds one after another; the policy ``close`` says when each ends."""

    def __init__(self, desk: Desk, close: Closing):
        self.desk = desk
        self.close = close

    def rounds(self) -> Process:
        """The server's process."""
        desk, clock = self.desk, self.desk.clock
        while desk.next_round < desk.plan.rounds:
            cohort = yield from self._cohort()
            if cohort is None:
                return
            start_s = clock.now_s
            rows, close_s = self._fates(cohort, start_s)
            if math.isinf(close_s):
                never = int(np.isinf(rows.ended_s).sum())
                who = f"{never} of {len(rows)} clients would never end"
                clock.finish(f"round {desk.next_round} can never close: {who}")
                return
            yield clock.until(close_s)
            record = RoundRecord(desk.next_round, start_s, close_s, rows)
            close_round(record, desk.learner)
            desk.selector.learn(record.clients)
            desk.next_round += 1
            yield clock.hand_over(record)
        clock.finish(ALL_DONE)

    def _cohort(self) -> Generator[simpy.Event, Any, Ints | None]:
        """Clients for the next round, as soon as there are any; None if there will be none."""
        desk, clock = self.desk, self.desk.clock
        wanted = min(self.close.invited(desk.plan.cohort), desk.world.clients)
        waited_s, retry_s = 0.0, FIRST_RETRY_S
        while True:
            turn = Turn(desk.next_round, desk.next_round, clock.now_s, wanted, NOBODY)
            cohort = np.sort(desk.selector.choose(turn))
            if cohort.size:
                return cohort
            next_s = desk.world.next_online_s(clock.now_s)
            if math.isinf(next_s):
                clock.finish(desk.nobody_ever())
                return None
            if next_s <= clock.now_s:  # somebody is online, but not to the selection's liking
                if waited_s >= PATIENCE_S:
                    clock.finish(NOBODY_WILL_DO)
                    return None
                next_s = clock.now_s + retry_s
                waited_s, retry_s = waited_s + retry_s, min(2.0 * retry_s, LAST_RETRY_S)
            yield clock.until(next_s)

    def _fates(self, cohort: Ints, now_s: float) -> tuple[ClientRounds, float]:
        """The rows of a cohort dispatched now, and when the round closes."""
        desk = self.desk
        quote = desk.world.quote(cohort, desk.next_round, now_s)
        dispatched = np.full(cohort.size, now_s)
        charge = desk.ledger.charge_j(cohort, dispatched)
        fates = desk.price(quote, dispatched, charge, self.close.limit_s())
        close = self.close.close_s(fates.after_s, fates.outcome == COMPLETED, desk.plan.cohort)
        if (fates.after_s > close).any():
            # The rest is told to stop; what ended by then stays as it is.
            fates = fates.kept_where(fates.after_s <= close, desk.price(quote, dispatched, charge, close))
        index = np.full(cohort.size, desk.next_round, dtype=np.int64)
        rows = rows_of(quote, fates, dispatched, index.copy(), index)
        if fates.charge_j is not None and not math.isinf(close):
            desk.ledger.note(cohort, rows.ended_s, fates.charge_j)
        return rows, max(now_s + close, float(rows.ended_s.max()))

    def state(self) -> State:
        """Nothing beyond the desk's."""
        return {}

    def restore(self, state: State) -> None:
        """Nothing beyond the desk's."""
