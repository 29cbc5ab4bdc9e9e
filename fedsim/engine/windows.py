"""Many ends at a time for an asynchronous server, with the result of taking them one by one.

While every place is taken, each end frees one place, which is filled at once; so many ends and their
replacements can be worked out together, a window at a time (:mod:`fedsim.engine.window`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedsim.engine.clock import Process
from fedsim.engine.desk import State
from fedsim.engine.flights import PricedFlights, Table
from fedsim.engine.window import Scratch, Window

if TYPE_CHECKING:
    from fedsim.engine.asynchronous import Asynchronous

WORTH = 16  # ends that make a window worth its trouble; after a smaller one,
MOST_STEPS = 255  # more and more ends, up to so many, are taken one by one before the next is tried


class Windows:
    """Works through the ends of ``flights`` for ``server``.

    Attributes:
        worked_through: ends taken in windows so far.
    """

    def __init__(self, server: Asynchronous, flights: PricedFlights):
        self.server = server
        self.flights = flights
        self.worked_through = 0
        self._steps = self._steps_left = 0  # to take one by one after the last window, and of them now
        self._inside: tuple[float, Table] | None = None  # within a window: the instant, and replacements
        self._scratch = Scratch.of(server.desk.world.clients)

    def work_through(self) -> Process:
        """Take in ends and fill their places as long as it can be done many at a time."""
        server, desk, flights = self.server, self.server.desk, self.flights
        while self._worth_trying():
            ends, fresh = Window(server, flights, self._scratch).settled()
            count = len(ends.rows)
            self._steps = 0 if count >= WORTH else min(2 * self._steps + 1, MOST_STEPS)
            self._steps_left = self._steps
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
            begun = int(np.searchsorted(flights.table.rows.ended_s, last_s, side="right"))
            stay = flights.table.take(slice(begun, None))
            flights.table = Table.join([stay, fresh.take(fresh.rows.ended_s > last_s)]).in_order()

    def _worth_trying(self) -> bool:
        """Whether a window is likely to hold many ends, going by the last ones; a matter of speed alone."""
        if not self._steps_left:
            return True
        self._steps_left -= 1
        return False

    def state(self) -> State:
        """Who is at work, in the middle of a window too."""
        if self._inside is None:
            return self.flights.state()
        return self.flights.state(*self._inside)
