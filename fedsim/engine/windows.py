"""Many ends at a time for an asynchronous server, with the result of taking them one by one.

While every place is taken, each end frees one place, which is filled at once. So the next ends of
the table are taken together: their replacements are chosen and priced in one pass, each at its own
instant, on the assumption that no replacement ends within the window. The first that does, or that
is chosen twice, or two ends at one instant, cuts the window short; what lies beyond is simply
worked out again in the next one. Choices are draws by number of the turn, so nothing shifts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedsim.engine.clock import Process
from fedsim.engine.desk import State
from fedsim.engine.flights import PricedFlights, Table
from fedsim.engine.records import COMPLETED
from fedsim.engine.selection.base import Turns
from fedsim.engine.world import Bools, Floats, Ints

if TYPE_CHECKING:
    from fedsim.engine.asynchronous import Asynchronous

NARROWEST = 64


class Windows:
    """Works through the ends of ``flights`` for ``server``."""

    def __init__(self, server: Asynchronous, flights: PricedFlights):
        self.server = server
        self.flights = flights
        self._width = NARROWEST
        self._inside: tuple[int, Table] | None = None  # how far into a window: ends taken, replacements

    def work_through(self) -> Process:
        """Take in ends and fill their places as long as it can be done many at a time."""
        server, desk, flights = self.server, self.server.desk, self.flights
        while True:
            ends = flights.table.take(slice(0, self._width)).rows
            count = _leading(self._alone(ends.ended_s))
            if not count:
                return
            done = ends.outcome[:count] == COMPLETED
            count = _leading(~self._hopeless(ends.ended_s[:count], done))
            version = desk.next_round + (server.buffered + np.cumsum(done[:count])) // server.size
            count = _leading(version < desk.plan.rounds)  # the last close is left to be taken by itself
            fresh = self._replace(ends.ended_s[:count], version[:count])
            count = len(fresh.rows)
            if not count:
                return
            self._width = max(NARROWEST, count + count // 2)
            closes = np.flatnonzero(np.diff(version[:count], prepend=desk.next_round))
            taken, first_turn = 0, server.turn
            for close in [*closes.tolist(), count]:
                flights.note(fresh.take(slice(max(taken - 1, 0), close)))
                server.gather(ends.take(slice(taken, min(close + 1, count))))
                taken = close + 1
                if close == count:
                    break
                server.turn = first_turn + close
                self._inside = (taken, fresh.take(slice(0, close)))
                yield desk.clock.until(float(ends.ended_s[close]))
                yield desk.clock.hand_over(server.close())
            self._inside = None
            server.turn = first_turn + count
            server.filled_s, server.refills = float(ends.ended_s[count - 1]), 0
            yield desk.clock.until(float(ends.ended_s[count - 1]))
            flights.table = flights.table.take(slice(count, None)).with_more(fresh)

    def _hopeless(self, ended_s: Floats, done: Bools) -> Bools:
        """At which of the next ends the server would give up."""
        nth = np.arange(done.size)
        last = np.maximum.accumulate(np.where(done, nth, -1))
        futile = np.where(last >= 0, nth - last, self.server.futile + nth + 1)
        since_s = np.where(last >= 0, ended_s[np.maximum(last, 0)], self.server.last_update_s)
        return np.asarray(self.server.hopeless(futile, ended_s, since_s))

    def _alone(self, ended_s: Floats) -> Bools:
        """Which of the next ends are at an instant of their own (the very last of the table left out)."""
        following = self.flights.table.rows.ended_s[1 : ended_s.size + 1]
        count = following.size
        alone = np.isfinite(ended_s[:count]) & (ended_s[:count] < following)
        alone[1:] &= ended_s[1:count] > ended_s[: max(count - 1, 0)]
        return np.asarray(alone)

    def _replace(self, time_s: Floats, version: Ints) -> Table:
        """Replacements for clients that end at those instants, as many as are certain."""
        server, flights = self.server, self.flights
        none = flights.table.take(slice(0, 0))
        if not time_s.size:
            return none
        turns = Turns(server.turn + np.arange(time_s.size), version, time_s, flights.busy_until_s)
        chosen = server.desk.selector.choose_each(turns)
        if chosen is None:
            return none
        chosen = chosen[: _leading(chosen >= 0)]
        twice = np.ones(chosen.size, dtype=np.bool_)
        twice[np.unique(chosen, return_index=True)[1]] = False
        chosen = chosen[: _leading(~twice)]
        if not chosen.size:
            return none
        fresh = flights.price(chosen, version[: chosen.size], time_s[: chosen.size])
        soonest = np.minimum.accumulate(fresh.rows.ended_s)
        certain = np.ones(chosen.size, dtype=np.bool_)
        certain[1:] = time_s[1 : chosen.size] < soonest[:-1]
        return fresh.take(slice(0, _leading(certain)))

    def state(self) -> State:
        """Who is at work, in the middle of a window too."""
        if self._inside is None:
            return self.flights.state()
        return self.flights.state(*self._inside)


def _leading(good: Bools) -> int:
    """How many are true before the first that is not."""
    return int(good.size if good.all() else good.argmin())
