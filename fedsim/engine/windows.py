"""Many ends at a time for an asynchronous server, with the result of taking them one by one.

While every place is taken, each end frees one place, which is filled at once. So the ends up to some
instant, the horizon, are taken together: their replacements are chosen and priced in one pass, each
at its own instant; replacements that end before the horizon are replaced in a further pass, and so
on. What a pass cannot know (a client chosen twice, two ends at one instant, an end that closes a
round sooner than was thought) moves the horizon to before that instant: all that lies before is as
it would have been one by one, and what lies beyond is worked out again in the next window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedsim.engine.clock import Process
from fedsim.engine.desk import State
from fedsim.engine.flights import PricedFlights, Table
from fedsim.engine.records import COMPLETED, ClientRounds
from fedsim.engine.selection.base import Choices, Turns
from fedsim.engine.world import Bools, Floats, Ints

if TYPE_CHECKING:
    from fedsim.engine.asynchronous import Asynchronous

NARROWEST = 64


class Windows:
    """Works through the ends of ``flights`` for ``server``.

    Attributes:
        worked_through: ends taken in windows so far.
    """

    def __init__(self, server: Asynchronous, flights: PricedFlights):
        self.server = server
        self.flights = flights
        self.worked_through = 0
        self._width = NARROWEST
        self._inside: tuple[float, Table] | None = None  # within a window: the instant, and replacements

    def work_through(self) -> Process:
        """Take in ends and fill their places as long as it can be done many at a time."""
        server, desk, flights = self.server, self.server.desk, self.flights
        while True:
            ends, fresh = self._window()
            count = len(ends.rows)
            if not count:
                return
            closes = np.flatnonzero(np.diff(fresh.rows.base_round, prepend=desk.next_round))
            taken = 0
            for close in [*closes.tolist(), count]:
                flights.note(fresh.take(slice(max(taken - 1, 0), close)))
                server.gather(ends.rows.take(slice(taken, min(close + 1, count))))
                taken = close + 1
                if close == count:
                    break
                now_s = float(ends.rows.ended_s[close])
                self._inside = (now_s, fresh.take(slice(0, close)))
                server.ticket = int(ends.ticket[close])
                yield desk.clock.until(now_s)
                yield desk.clock.hand_over(server.close())
            self._inside = server.ticket = None
            self.worked_through += count
            last_s = float(ends.rows.ended_s[-1])
            server.filled_s, server.refills = last_s, 0
            yield desk.clock.until(last_s)
            both = Table.join([flights.table, fresh])
            flights.table = both.take(both.rows.ended_s > last_s).in_order()

    def _window(self) -> tuple[Table, Table]:
        """The next ends, in order, and the replacement for each; none if they cannot be taken so."""
        table = self.flights.table
        first = max(min(self._width, len(table.rows) - 1), 0)
        passes = _Passes(self, float(table.rows.ended_s[first]))
        passes.run()
        passes.look_back()
        ends, fresh = passes.certain()
        count = len(ends.rows)
        self._width = max(NARROWEST, 2 * self._width if count >= first else count + count // 2)
        self._width = min(self._width, max(NARROWEST, len(table.rows) // 4))
        return ends, fresh

    def state(self) -> State:
        """Who is at work, in the middle of a window too."""
        if self._inside is None:
            return self.flights.state()
        return self.flights.state(*self._inside)


class _Passes:
    """One window: ends and their replacements, pass after pass, and the horizon up to which they hold."""

    def __init__(self, windows: Windows, horizon_s: float):
        self.server, self.flights = windows.server, windows.flights
        self.horizon_s = horizon_s
        self.ends = [self.flights.table.take(slice(0, 0))]
        self.fresh = [self.flights.table.take(slice(0, 0))]
        self.choices: list[Choices] = []
        none = np.zeros(0)
        self.taken: tuple[Ints, Floats, Floats] = (none.astype(np.int64), none, none)

    def stop_before(self, times_s: Floats) -> None:
        """Nothing from the first of these instants on is certain."""
        if times_s.size:
            self.horizon_s = min(self.horizon_s, float(times_s.min()))

    def run(self) -> None:
        """Find a replacement for every end before the horizon."""
        server, desk, flights = self.server, self.server.desk, self.flights
        count = int(np.searchsorted(flights.table.rows.ended_s, self.horizon_s))
        ending = flights.table.take(slice(0, count))
        done_s = ending.rows.ended_s[ending.rows.outcome == COMPLETED]
        while len(ending.rows):
            time_s = ending.rows.ended_s
            done = server.buffered + np.searchsorted(done_s, time_s, side="right")
            version = desk.next_round + done // server.size
            choices = desk.selector.choose_each(Turns(ending.ticket, version, time_s, self.free))
            if choices is None:
                self.horizon_s = -np.inf
                return
            self.stop_before(time_s[choices.client < 0])
            rows = np.flatnonzero(time_s < self.horizon_s)
            ending, chosen = ending.take(rows), choices.client[rows]
            fresh = flights.price(chosen, version[rows], time_s[rows], ending.ticket)
            self.ends.append(ending)
            self.fresh.append(fresh)
            self.choices.append(choices)
            self.taken = _by_client(Table.join(self.fresh).rows)
            ending = fresh.take(fresh.rows.ended_s < self.horizon_s)

    def free(self, clients: Ints, time_s: Floats) -> Bools:
        """Whether clients were not at work at those instants, by what was known before this pass."""
        free = self.flights.busy_until_s[clients] <= time_s
        return np.asarray(free & ~self.at_work(clients, time_s))

    def at_work(self, clients: Ints, time_s: Floats) -> Bools:
        """Whether a dispatch of this window had clients at work at those instants."""
        who, since_s, until_s = self.taken
        if not who.size:
            return np.zeros(clients.size, dtype=np.bool_)
        at = np.minimum(np.searchsorted(who, clients), who.size - 1)
        return np.asarray((who[at] == clients) & (since_s[at] < time_s) & (time_s < until_s[at]))

    def look_back(self) -> None:
        """Move the horizon to before whatever did not come as the passes assumed."""
        server, desk = self.server, self.server.desk
        rows = Table.join(self.fresh).rows
        who, since_s, _ = _by_client(rows)
        self.stop_before(since_s[1:][who[1:] == who[:-1]])  # chosen twice: the later is not certain
        for choices in self.choices:  # passed over for an earlier turn, but already back from that
            self.stop_before(choices.passed_s[~self.at_work(choices.passed, choices.passed_s)])
        order = np.argsort(rows.dispatched_s, kind="stable")
        time_s, version = rows.dispatched_s[order], rows.base_round[order]
        self.stop_before(time_s[1:][time_s[1:] == time_s[:-1]])
        done = Table.join(self.ends).rows.outcome[order] == COMPLETED
        right, hopeless = server.forecast(done, time_s)
        self.stop_before(time_s[(version != right) | (right >= desk.plan.rounds) | hopeless])

    def certain(self) -> tuple[Table, Table]:
        """The ends before the horizon in order, and the replacement for each."""
        ends, fresh = Table.join(self.ends), Table.join(self.fresh)
        time_s = ends.rows.ended_s
        rows = np.flatnonzero(time_s < self.horizon_s)
        rows = rows[np.argsort(time_s[rows], kind="stable")]
        return ends.take(rows), fresh.take(rows)


def _by_client(rows: ClientRounds) -> tuple[Ints, Floats, Floats]:
    """Clients in order of their number and dispatch, since when and until when each was at work."""
    order = np.lexsort((rows.dispatched_s, rows.client))
    return rows.client[order], rows.dispatched_s[order], rows.ended_s[order]
