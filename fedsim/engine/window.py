"""One window of ends for an asynchronous server: every request in it, settled together.

The ends up to some instant, the horizon, are taken together: replacements are chosen and priced for
all of them in one pass, each at its own instant; replacements that end before the horizon are replaced
in the next pass, and so on. A choice depends on who else is at work, so a request chooses again whenever
another request takes, leaves or learns the end of a client that it looked at, and what followed from a
choice that has changed is dropped. A choice depends only on earlier ones: all that are earlier than
the first that still changes, the front, are as they would have been one by one. While the front
follows, the horizon moves on, so that each pass has many to price. What the passes cannot settle (two
ends at one instant, a request with nobody to choose, the last close of the plan) moves the horizon to
before that instant, for good.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fedsim.engine.in_flight import InFlight, Table
from fedsim.engine.records import COMPLETED, ClientRounds, RoundRecord
from fedsim.engine.selection.drawn import Free, Rows
from fedsim.engine.server_state import ServerState
from fedsim.engine.world import Bools, Floats, Ints

NARROWEST = 64
NOT_YET = -2
NOBODY, SEVERAL = -1, -2
STEP = 0.25  # share of those at work whose ends a pass adds
PASSES = 16  # in which the horizon moves on; then the window is brought to its end,
ENOUGH = 4096  # as it is once it has so many requests: in a larger one, each pass costs more than it brings


class Buffering(Protocol):
    """What windows need of the server with a buffer, :class:`~fedsim.engine.asynchronous.Asynchronous`."""

    server: ServerState
    size: int
    buffered: int
    ticket: int | None
    filled_s: float
    refills: int

    def forecast(self, done: Bools, ended_s: Floats) -> tuple[Ints, Bools]:
        """The number of the round after each of these ends, and whether it is hopeless."""
        ...

    def gather(self, rows: ClientRounds) -> None:
        """Keep client-rounds that ended."""
        ...

    def close(self) -> RoundRecord:
        """Close the round now."""
        ...


@dataclass(frozen=True)
class Scratch:
    """Room for marks on clients of the fleet; none is left on any between two uses."""

    by: Ints
    asked: Bools

    @staticmethod
    def of(clients: int) -> Scratch:
        """For a fleet of so many."""
        return Scratch(np.full(clients, NOBODY), np.zeros(clients, dtype=np.bool_))


class Window:
    """The requests of one window: each fills the place that an end before the horizon has left.

    Turns are numbered as they become known. ``pool`` holds client-rounds: those that are at work at
    the beginning, then replacements as they are priced.
    """

    def __init__(self, asynchronous: Buffering, in_flight: InFlight, scratch: Scratch):
        self.asynchronous, self.server, self.in_flight, self.scratch = (
            asynchronous,
            asynchronous.server,
            in_flight,
            scratch,
        )
        self.busy_until_s = in_flight.busy_until_s  # with the requests that are settled; put back at the end
        self.put_back: list[tuple[Ints, Floats]] = []
        self.front_s = self.horizon_s = -np.inf
        self.blocked_s = np.inf  # beyond this the horizon does not move
        self.begun = 0  # of those at work at the beginning, how many end before the horizon
        self.alike = self.server.world.rounds_alike
        self.drawn = self.server.selector.drawn()
        self.pool = [in_flight.table]
        self.pooled = len(in_flight.table.rows)
        none = np.zeros(0, dtype=np.int64)
        self.end_at = none  # in the pool: whose place the request fills
        self.fresh_at = none  # in the pool: who fills it
        self.ticket = none  # the request's number
        self.parent = none  # the request that dispatched whoever has ended; -1 if it was before the window
        self.version = none  # of the model that is handed out; any, where rounds are alike
        self.client = none  # who is chosen; -1 if it takes a closer look
        self.until_s = np.zeros(0)  # when that client ends
        self.moved: list[tuple[Ints, Rows]] = []  # clients, and requests that took or left them just now
        self.done = np.zeros(0, dtype=np.bool_)  # whether who has ended was complete
        self.alive = np.zeros(0, dtype=np.bool_)  # whether that end comes about, as far as is known

    def _add(self, ends: Table, end_at: Ints, parent: Ints) -> None:
        """Turns that fill the places of ``ends``."""
        if self.drawn is None or not end_at.size:
            return
        time_s, count = ends.rows.ended_s, end_at.size
        self.end_at = np.concatenate([self.end_at, end_at])
        self.ticket = np.concatenate([self.ticket, ends.ticket])
        self.parent = np.concatenate([self.parent, parent])
        self.done = np.concatenate([self.done, ends.rows.outcome == COMPLETED])
        self.alive = np.concatenate([self.alive, np.ones(count, dtype=np.bool_)])
        self.client = np.concatenate([self.client, np.full(count, NOT_YET)])
        self.fresh_at = np.concatenate([self.fresh_at, np.full(count, -1)])
        self.until_s = np.concatenate([self.until_s, np.full(count, np.inf)])
        version = np.full(count, self.server.next_round)
        if not self.alike:
            known_s = np.concatenate([self.drawn.time_s, time_s])
            done_s = np.sort(known_s[self.alive & self.done])
            before = self.asynchronous.buffered + np.searchsorted(done_s, time_s, side="right")
            version += before // self.asynchronous.size
        self.version = np.concatenate([self.version, version])
        self.drawn.add(ends.ticket, version, time_s)

    def settled(self) -> tuple[Table, Table]:
        """The ends that are certain, in order, and the replacement for each; none if none is."""
        if self.drawn is not None:
            # Without this, what lies far ahead is likely to be worked out in vain.
            passes = PASSES if self.alike and self.server.battery_state.battery is None else 1
            self._move_on()
            while (changed := self._choose()).size or self.horizon_s < self.blocked_s:
                passes -= 1
                if passes < 1 or self.alive.size >= ENOUGH:
                    self.blocked_s = min(self.blocked_s, self.horizon_s)
                front_s = float(self.drawn.time_s[changed].min()) if changed.size else self.horizon_s
                self._drop_followers(changed)
                self._price(changed[self.alive[changed]])
                self._settle(front_s)
                if self.horizon_s < self.blocked_s:
                    self._move_on()
            for clients, until_s in reversed(self.put_back):
                self.busy_until_s[clients] = until_s
        return self._certain()

    def _move_on(self) -> None:
        """Let the horizon move on, and take in the ends that come before it then."""
        asynchronous, plan = self.asynchronous, self.server.plan
        ended_s = self.in_flight.table.rows.ended_s
        step = max(NARROWEST, int(STEP * ended_s.size))
        begun = min(self.begun + step, ended_s.size - 1)
        before_s, self.horizon_s = self.horizon_s, min(float(ended_s[begun]), self.blocked_s)
        enough = (plan.rounds - self.server.next_round) * asynchronous.size - asynchronous.buffered
        if begun == ended_s.size - 1 or int((self.done & self.alive).sum()) >= enough:
            self.blocked_s = min(self.blocked_s, self.horizon_s)
        first, self.begun = self.begun, max(int(np.searchsorted(ended_s, self.horizon_s)), self.begun)
        if self.begun > first:
            at = np.arange(first, self.begun)
            self._add(self.in_flight.table.take(slice(first, self.begun)), at, np.full(at.size, -1))
        late = (self.until_s >= before_s) & (self.until_s < self.horizon_s) & (self.fresh_at >= 0)
        rows = np.flatnonzero(late & self.alive)
        if rows.size:
            self._add(Table.join(self.pool).take(self.fresh_at[rows]), self.fresh_at[rows], rows)

    def _settle(self, front_s: float) -> None:
        """Whatever comes before the front does not change any more."""
        assert self.drawn is not None
        time_s = self.drawn.time_s
        rows = np.flatnonzero(self.alive & (time_s >= self.front_s) & (time_s < front_s))
        rows = rows[np.argsort(time_s[rows], kind="stable")]
        clients = self.client[rows]
        self.put_back.append((clients, self.busy_until_s[clients]))
        self.busy_until_s[clients] = self.until_s[rows]
        self.front_s = max(self.front_s, front_s)

    def _stop_before(self, times_s: Floats) -> None:
        """Nothing from the first of these instants on is certain."""
        if times_s.size and (first_s := float(times_s.min())) < self.horizon_s:
            assert self.drawn is not None
            self.horizon_s = self.blocked_s = first_s
            self.alive &= self.drawn.time_s < first_s

    def _choose(self) -> Rows:
        """Let requests choose with what is known: the new ones, and those whose choice may be another now.

        Returns:
            The requests that choose anew.
        """
        assert self.drawn is not None
        rows = np.flatnonzero(self.alive & (self.drawn.time_s >= self.front_s))
        todo = rows[(self.client[rows] == NOT_YET) | self._concerned(rows)]
        chosen = self.drawn.choose(todo, self._free(rows))
        anew = chosen != self.client[todo]
        changed: Rows = todo[anew]
        chosen = chosen[anew]
        while chosen.size:
            self.moved += [(self.client[changed], changed), (chosen, changed)]
            self.client[changed], self.until_s[changed] = chosen, np.inf
            self._stop_before(self.drawn.time_s[changed[chosen < 0]])
            changed = changed[self.alive[changed]]
            in_order = np.sort(self.client[changed])
            if not (in_order[1:] == in_order[:-1]).any():
                break
            # Who is chosen twice goes to the earlier request, and is at work for as long as anybody knows.
            rows = rows[self.alive[rows]]
            chosen = self.drawn.choose(changed, self._free(rows))
            if (chosen == self.client[changed]).all():
                break
        return changed

    def _concerned(self, rows: Rows) -> Bools:
        """Which requests looked at a client that another request has taken, given up or seen end since."""
        assert self.drawn is not None
        moved, self.moved = self.moved, []
        if not moved:
            return np.zeros(rows.size, dtype=np.bool_)
        clients, requests = (np.concatenate(part) for part in zip(*moved, strict=True))
        clients, requests = clients[clients >= 0], requests[clients >= 0]
        by = self.scratch.by
        by[clients] = requests
        by[clients[by[clients] != requests]] = SEVERAL

        def by_another(client: Ints, request: Rows) -> Bools:
            found: Bools = (by[client] != NOBODY) & (by[client] != request)
            return found

        found = self.drawn.looked_at(rows, by_another)
        by[clients] = NOBODY
        return found

    def _free(self, rows: Rows) -> Free:
        """Tells if clients are free at the instants of requests, by what ``rows`` have chosen."""
        assert self.drawn is not None
        time_s, busy_until_s, asked = self.drawn.time_s, self.busy_until_s, self.scratch.asked
        rows = rows[self.client[rows] >= 0]
        held, until_s, since_s = self.client[rows], self.until_s[rows], time_s[rows]

        def free(clients: Ints, requests: Rows) -> Bools:
            now_s = time_s[requests]
            good: Bools = busy_until_s[clients] <= now_s
            asked[clients] = True
            some = np.flatnonzero(asked[held])
            asked[clients] = False
            if some.size:
                in_time = np.sort(since_s[some])
                most = some.size + 1
                keys = held[some] * most + in_time.searchsorted(since_s[some])
                order = np.argsort(keys)
                before = keys[order].searchsorted(clients * most + in_time.searchsorted(now_s)) - 1
                last = some[order[before]]
                good &= ~((before >= 0) & (held[last] == clients) & (until_s[last] > now_s))
            return good

        return free

    def _drop_followers(self, changed: Rows) -> None:
        """Whoever these requests had chosen before is not dispatched, so neither are their replacements."""
        gone = np.zeros(self.alive.size, dtype=np.bool_)
        gone[changed[self.fresh_at[changed] >= 0]] = True
        dead = gone
        while dead.any():
            dead = (self.parent >= 0) & dead[self.parent] & self.alive
            self.alive &= ~dead
            rows = np.flatnonzero(dead & (self.client >= 0))
            self.moved.append((self.client[rows], rows))

    def _price(self, requests: Rows) -> None:
        """How those who are chosen now end, and the requests that follow from that."""
        if not requests.size:
            return
        assert self.drawn is not None
        fresh = self.in_flight.price(
            self.client[requests], self.version[requests], self.drawn.time_s[requests], self.ticket[requests]
        )
        at = np.arange(self.pooled, self.pooled + requests.size)
        self.pool.append(fresh)
        self.pooled += requests.size
        self.until_s[requests], self.fresh_at[requests] = fresh.rows.ended_s, at
        self._stop_before(fresh.rows.dispatched_s[fresh.rows.ended_s <= fresh.rows.dispatched_s])
        ends = np.flatnonzero(fresh.rows.ended_s < self.horizon_s)
        if ends.size:
            self._add(fresh.take(ends), at[ends], requests[ends])

    def _certain(self) -> tuple[Table, Table]:
        """The ends before the horizon in order, and the replacement for each."""
        asynchronous, server = self.asynchronous, self.server
        if self.drawn is None:
            return self.pool[0].take(slice(0, 0)), self.pool[0].take(slice(0, 0))
        rows = np.flatnonzero(self.alive)
        rows = rows[np.argsort(self.drawn.time_s[rows], kind="stable")]
        time_s = self.drawn.time_s[rows]
        self._stop_before(time_s[1:][time_s[1:] == time_s[:-1]])
        right, hopeless = asynchronous.forecast(self.done[rows], time_s)
        wrong = (right >= server.plan.rounds) | hopeless
        if not self.alike:
            wrong |= self.version[rows] != right
        self._stop_before(time_s[wrong])
        if server.battery_state.battery is not None:  # charge after the first time is not noted yet
            again = np.ones(rows.size, dtype=np.bool_)
            again[np.unique(self.client[rows], return_index=True)[1]] = False
            self._stop_before(time_s[again])
        count = int(np.searchsorted(time_s, self.horizon_s))
        rows, pool = rows[:count], Table.join(self.pool)
        # Who was dispatched and has ended within the window is in the pool with what was assumed then.
        pool.rows.base_round[self.fresh_at[rows]] = right[:count]
        pool.rows.round[self.fresh_at[rows]] = right[:count]
        return pool.take(self.end_at[rows]), pool.take(self.fresh_at[rows])
