"""The asynchronous server: clients come and go one by one, and a full buffer closes a round.

At any instant the server first takes in whoever ended, in order of client number, closing a round
whenever its buffer is full, and then fills the free places. If it cannot fill them all it tries
again after a while, not at every end. If very many clients in a row end without an update, for days,
it gives up: nothing would ever close the round. What is in the buffer when no more can come closes a last
round. Whoever is at work when the last round closes is told to stop, and is late.

Where the policy allows, ends are worked through many at a time (:mod:`fedsim.engine.windows`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fedsim.engine.aggregate import close_round
from fedsim.engine.clock import Process
from fedsim.engine.completion import Buffered
from fedsim.engine.in_flight import InFlight
from fedsim.engine.in_flight_shared import SharedInFlight
from fedsim.engine.records import COMPLETED, LATE, ClientRounds, RoundRecord
from fedsim.engine.selection import SelectionRequest
from fedsim.engine.server_state import (
    ALL_DONE,
    FIRST_RETRY_S,
    LAST_RETRY_S,
    NOBODY_WILL_DO,
    PATIENCE_S,
    ServerState,
    State,
)
from fedsim.engine.windows import Windows
from fedsim.engine.world import Bools, Floats, Ints
from fedsim.words import plural

OFTEN = 32  # clients for each place, up to which the same are asked about again and again
REFILLS = 16  # times that places are filled again at one instant, before the server waits a while
# Client-rounds, for each place and each update wanted, and seconds that may go by without an update.
FUTILE, FUTILE_S = 100, 2 * 86_400.0
NONE_COMES = "no update comes any more: the last {} at work all ended without one"


class Asynchronous:
    """Rounds that close when a buffer is full.

    Attributes:
        in_flight: who is at work.
        arrived: who ended by now and was not taken in yet.
        ticket: of the client that ended alone at this instant; None if there is none, or it is used.
        request: number of the next request that has no ticket for its number.
        retry_s: when to fill free places next; ``-inf`` if there was no shortage when last tried.
    """

    def __init__(self, server: ServerState, close: Buffered):
        plan = server.plan
        self.server = server
        self.size = close.buffer
        self.places = min(close.concurrency or plan.cohort, server.world.clients)
        wide = math.isinf(plan.server_down_bytes_per_s) and math.isinf(plan.server_up_bytes_per_s)
        self.in_flight: InFlight | SharedInFlight = InFlight(server) if wide else SharedInFlight(server)
        self.windows = Windows(self, self.in_flight) if isinstance(self.in_flight, InFlight) else None
        if server.world.clients <= OFTEN * self.places:
            server.availability.ask_once_while_offline()
        self.arrived = ClientRounds.none()
        self.ticket: int | None = None
        self.request = 0
        self.retry_s = -math.inf
        self.wait_s = FIRST_RETRY_S
        self.waited_s = 0.0
        self.filled_s = -math.inf  # when places were last filled, and how often again at that instant
        self.refills = 0
        self.futile = 0  # client-rounds that ended since the last update came
        self.last_update_s = 0.0
        self.start_s = 0.0
        self.buffered = 0  # completed updates among the gathered
        self.gathered: list[ClientRounds] = []

    def rounds(self) -> Process:
        """The server's process."""
        clock, plan = self.server.clock, self.server.plan
        while self.server.next_round < plan.rounds:
            while len(self.arrived):
                if self.take_in():
                    yield clock.hand_over(self.close())
                    if self.server.next_round == plan.rounds:
                        clock.finish(ALL_DONE)
                        return
            hopeless = self.hopeless(self.futile, clock.now_s, self.last_update_s)
            reason = NONE_COMES.format(plural(self.futile, "client")) if hopeless else self._fill()
            if reason is None and self.windows is not None and len(self.in_flight) == self.places:
                yield from self.windows.work_through()
                if self.server.next_round == plan.rounds:
                    clock.finish(ALL_DONE)
                    return
            short = len(self.in_flight) < self.places and self.retry_s > -math.inf
            retry_s = self.retry_s if short else math.inf
            if short and isinstance(self.in_flight, InFlight):
                end_s = self._next_that_matters_s(self.in_flight, retry_s)
            else:
                end_s = self.in_flight.next_end_s(retry_s)
            if reason is None and math.isinf(min(end_s, retry_s)):
                reason = (
                    f"round {self.server.next_round} can never close: "
                    f"{plural(len(self.in_flight), 'client')} at work would never end"
                )
            if reason is not None:
                if self.gathered or len(self.in_flight):
                    yield clock.hand_over(self.close(last=True))
                clock.finish(reason)
                return
            yield clock.until(min(end_s, retry_s))
            if end_s <= clock.now_s:
                self.arrived, tickets = self.in_flight.pop_ended(clock.now_s)
                self.ticket = int(tickets[0]) if tickets.size == 1 else None
        clock.finish(ALL_DONE)

    def _next_that_matters_s(self, in_flight: InFlight, retry_s: float) -> float:
        """While places stay free until ``retry_s``, ends by then change nothing but the buffer.

        Returns:
            The end that fills the buffer or makes the server give up, else the last one before
            ``retry_s``, else the next one.
        """
        rows = in_flight.table.rows
        count = int(np.searchsorted(rows.ended_s, retry_s))
        if count < 2:
            return in_flight.next_end_s(retry_s)
        ended_s, done = rows.ended_s[:count], rows.outcome[:count] == COMPLETED
        _, hopeless = self.forecast(done, ended_s)
        matters = hopeless | (np.cumsum(done) == self.size - self.buffered)
        return float(ended_s[matters.argmax() if matters.any() else -1])

    def forecast(self, done: Bools, ended_s: Floats) -> tuple[Ints, Bools]:
        """What ends in order of time lead to: the number of the round after each, and if it is hopeless."""
        nth = np.arange(done.size)
        last = np.maximum.accumulate(np.where(done, nth, -1))
        futile = np.where(last >= 0, nth - last, self.futile + nth + 1)
        update_s = np.where(last >= 0, ended_s[np.maximum(last, 0)], self.last_update_s)
        version = self.server.next_round + (self.buffered + np.cumsum(done)) // self.size
        return version, self.hopeless(futile, ended_s, update_s)

    def take_in(self) -> bool:
        """Take in who arrived, up to the one whose update fills the buffer; whether one did."""
        done = np.cumsum(self.arrived.outcome == COMPLETED)
        full = np.flatnonzero(self.buffered + done == self.size)
        count = int(full[0]) + 1 if full.size else len(self.arrived)
        self.gather(self.arrived.take(slice(0, count)))
        self.arrived = self.arrived.take(slice(count, None))
        return bool(full.size)

    def gather(self, rows: ClientRounds) -> None:
        """Keep client-rounds that ended for the record of the round that closes next."""
        if len(rows):
            self.gathered.append(rows)
            done = np.flatnonzero(rows.outcome == COMPLETED)
            self.buffered += done.size
            self.futile = len(rows) - 1 - int(done[-1]) if done.size else self.futile + len(rows)
            self.last_update_s = float(rows.ended_s[done[-1]]) if done.size else self.last_update_s
            if (rows.ended_s > rows.dispatched_s).any():
                self.wait_s, self.waited_s = FIRST_RETRY_S, 0.0

    def hopeless(self, futile: Any, time_s: Any, since_s: Any) -> Any:
        """Whether so many client-rounds ended without an update since ``since_s`` that none will come.

        Scalars or arrays; bool or bool[n].
        """
        return (futile >= FUTILE * (self.size + self.places)) & (time_s - since_s >= FUTILE_S)

    def close(self, last: bool = False) -> RoundRecord:
        """Close the round now; the last one takes along everyone who is still at work."""
        server, now_s = self.server, self.server.clock.now_s
        if last or server.next_round + 1 == server.plan.rounds:
            self.arrived.outcome[self.arrived.outcome == COMPLETED] = LATE
            self.gathered += [self.arrived, self.in_flight.stop_all(now_s)]
            self.arrived = ClientRounds.none()
        rows = ClientRounds.join(self.gathered)
        rows.round = np.full(len(rows), server.next_round, dtype=np.int64)
        record = RoundRecord(server.next_round, self.start_s, now_s, rows)
        close_round(record, server.learner)
        server.selector.learn(record.clients)
        server.next_round += 1
        self.start_s, self.gathered, self.buffered = now_s, [], 0
        return record

    def _fill(self) -> str | None:
        """Fill the free places if it is time to; the reason for ending if nobody will ever come."""
        server, now_s = self.server, self.server.clock.now_s
        free = self.places - len(self.in_flight)
        ticket, self.ticket = self.ticket, None
        if not free or now_s < self.retry_s:
            return None
        self.refills = self.refills + 1 if now_s == self.filled_s else 0
        self.filled_s = now_s
        if self.refills > REFILLS:  # whoever is chosen ends at once
            self.retry_s = now_s + self.wait_s
            self.wait_s = min(2.0 * self.wait_s, LAST_RETRY_S)
            return None
        number = self.request
        if ticket is not None and free == 1:
            number = ticket
        else:
            self.request += 1
        request = SelectionRequest(number, server.next_round, now_s, free, self.in_flight.clients())
        chosen = server.selector.choose(request)
        if chosen.size:
            self.in_flight.dispatch(chosen, server.next_round, now_s, number)
        if chosen.size == free:
            self.retry_s = -math.inf
            return None
        self.retry_s = now_s + self.wait_s
        if not len(self.in_flight):
            next_s = server.world.next_online_s(now_s)
            if math.isinf(next_s):
                return server.nobody_ever()
            if next_s > now_s:
                self.retry_s = next_s
                return None
            if self.waited_s >= PATIENCE_S:
                return NOBODY_WILL_DO
            self.waited_s += self.wait_s
        self.wait_s = min(2.0 * self.wait_s, LAST_RETRY_S)
        return None

    def state(self) -> State:
        """Who is at work and who has just ended; beyond the server's."""
        in_flight = self.windows.state() if self.windows is not None else self.in_flight.state()
        return {
            "in_flight": in_flight,
            "arrived": self.arrived.arrays(),
            "ticket": -1 if self.ticket is None else self.ticket,
            "request": self.request,
            "retry_s": self.retry_s,
            "wait_s": self.wait_s,
            "waited_s": self.waited_s,
            "start_s": self.start_s,
            "filled_s": self.filled_s,
            "refills": self.refills,
        }

    def restore(self, state: State) -> None:
        """Go on from what :meth:`state` gave."""
        self.in_flight.restore(state["in_flight"])
        self.arrived = ClientRounds(**{name: np.array(column) for name, column in state["arrived"].items()})
        self.ticket = None if int(state["ticket"]) < 0 else int(state["ticket"])
        self.request = int(state["request"])
        self.retry_s, self.wait_s = float(state["retry_s"]), float(state["wait_s"])
        self.waited_s, self.start_s = float(state["waited_s"]), float(state["start_s"])
        self.filled_s, self.refills = float(state["filled_s"]), int(state["refills"])
        self.last_update_s = self.start_s
