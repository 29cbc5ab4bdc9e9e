"""Clients at work for an asynchronous server whose own link never holds anybody up.

Nothing that happens later changes when such a client ends, so its result is priced when it is
dispatched, and the clients at work are a table in order of their ends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedsim.engine.records import COMPLETED, LATE, ClientRounds
from fedsim.engine.server_state import ServerState, State, rows_of
from fedsim.engine.ticket import tickets
from fedsim.engine.world import Bools, Floats, Ints


@dataclass
class Table:
    """Client-rounds, with tickets, and the charge at dispatch and at the end (nan without batteries)."""

    rows: ClientRounds
    ticket: Ints
    charge_j: Floats
    after_j: Floats

    def take(self, rows: slice | Ints | Bools) -> Table:
        """Some of them."""
        return Table(self.rows.take(rows), self.ticket[rows], self.charge_j[rows], self.after_j[rows])

    @staticmethod
    def join(parts: Sequence[Table]) -> Table:
        """Several tables (at least one), one after another."""
        if len(parts) == 1:
            return parts[0]
        rows = ClientRounds.join([part.rows for part in parts])
        others = ("ticket", "charge_j", "after_j")
        return Table(rows, *(np.concatenate([getattr(part, name) for part in parts]) for name in others))

    def in_order(self) -> Table:
        """The same in order of their ends, then of clients."""
        return self.take(np.lexsort((self.rows.client, self.rows.ended_s)))


class InFlight:
    """The clients at work.

    Attributes:
        table: how each will end.
        busy_until_s: float64[clients], when each client of the fleet ends; ``-inf`` if never at work.
    """

    def __init__(self, server: ServerState):
        self.server = server
        self.table = Table(ClientRounds.none(), np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0))
        self.busy_until_s = np.full(server.world.clients, -np.inf)

    def __len__(self) -> int:
        return len(self.table.rows)

    def clients(self) -> Ints:
        """Who is at work, ascending."""
        return np.sort(self.table.rows.client)

    def next_end_s(self, limit_s: float) -> float:
        """When the next client ends; it may be anything later than ``limit_s`` if none does by then."""
        ends = self.table.rows.ended_s
        return float(ends[0]) if ends.size else math.inf

    def pop_ended(self, now_s: float) -> tuple[ClientRounds, Ints]:
        """Take off the clients that end by ``now_s``, in order of their ends, then of their numbers.

        Returns:
            Their rows and their tickets.
        """
        count = int(np.searchsorted(self.table.rows.ended_s, now_s, side="right"))
        ended, self.table = self.table.take(slice(0, count)), self.table.take(slice(count, None))
        return ended.rows, ended.ticket

    def dispatch(self, clients: Ints, base_round: int, time_s: float, number: int) -> None:
        """Clients chosen in the request ``number`` start now, with the model of ``base_round``."""
        base = np.full(clients.size, base_round, dtype=np.int64)
        fresh = self.price(clients, base, np.full(clients.size, time_s), number)
        self.note(fresh)
        self.table = Table.join([self.table, fresh]).in_order()

    def price(self, clients: Ints, base_round: Ints, time_s: Floats, number: int | Ints) -> Table:
        """How clients dispatched at those instants, chosen in requests of that number, would end."""
        server = self.server
        estimate = server.world.estimate(clients, base_round, time_s)
        charge = server.battery_state.charge_j(clients, time_s)
        results = server.price(estimate, time_s, charge, math.inf)
        rows = rows_of(estimate, results, time_s, base_round, base_round.copy())
        unknown = np.full(clients.size, np.nan)
        after = unknown if results.charge_j is None else results.charge_j
        return Table(rows, tickets(number, clients), unknown if charge is None else charge, after)

    def note(self, fresh: Table) -> None:
        """These clients are at work from now on."""
        self.busy_until_s[fresh.rows.client] = fresh.rows.ended_s
        ends = np.isfinite(fresh.rows.ended_s)
        if self.server.battery_state.battery is not None:
            self.server.battery_state.note(
                fresh.rows.client[ends], fresh.rows.ended_s[ends], fresh.after_j[ends]
            )

    def stop_all(self, now_s: float) -> ClientRounds:
        """Tell everyone to stop now; they are late, whatever they were about to be."""
        table, server = self.table, self.server
        self.table = table.take(slice(0, 0))
        was = table.rows
        estimate = server.world.estimate(was.client, was.base_round, was.dispatched_s)
        charge = None if server.battery_state.battery is None else table.charge_j
        results = server.price(estimate, was.dispatched_s, charge, now_s - was.dispatched_s)
        rows = rows_of(estimate, results, was.dispatched_s, was.base_round, was.base_round.copy())
        rows.outcome[rows.outcome == COMPLETED] = LATE
        rows.ended_s[:] = now_s
        return rows.take(np.argsort(rows.client))

    def state(self, now_s: float = -math.inf, fresh: Table | None = None) -> State:
        """Who is at work; at ``now_s`` within a window in which others have come."""
        table = self.table
        if fresh is not None:
            table = Table.join([table, fresh])
            table = table.take(table.rows.ended_s > now_s).in_order()
        rows = table.rows
        return {
            "client": rows.client,
            "base_round": rows.base_round,
            "dispatched_s": rows.dispatched_s,
            "ticket": table.ticket,
            "charge_j": table.charge_j,
        }

    def restore(self, state: State) -> None:
        """Go on from what :meth:`state` gave: everyone is priced again, to the same end."""
        server = self.server
        client, base = np.array(state["client"], np.int64), np.array(state["base_round"], np.int64)
        dispatched, charge = np.array(state["dispatched_s"]), np.array(state["charge_j"])
        if not client.size:
            return
        estimate = server.world.estimate(client, base, dispatched)
        results = server.price(
            estimate, dispatched, None if server.battery_state.battery is None else charge, math.inf
        )
        rows = rows_of(estimate, results, dispatched, base, base.copy())
        after = np.full(client.size, np.nan) if results.charge_j is None else results.charge_j
        self.table = Table(rows, np.array(state["ticket"], np.int64), charge, after)
        self.busy_until_s[client] = rows.ended_s
