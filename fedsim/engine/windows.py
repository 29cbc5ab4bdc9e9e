"""Many ends at a time for an asynchronous server, with the result of taking them one by one.

While every place is taken, each end frees one place, which is filled at once; so many ends and their
replacements can be worked out together, a window at a time (:mod:`fedsim.engine.window`).
"""

from __future__ import annotations

import numpy as np

from fedsim.engine.clock import Process
from fedsim.engine.in_flight import InFlight, Table
from fedsim.engine.server_state import State
from fedsim.engine.window import Buffering, Scratch, Window

WORTH = 16  # ends that make a window worth its trouble; after a smaller one,
MOST_STEPS = 255  # more and more ends, up to so many, are taken one by one before the next is tried


class Windows:
    """Works through the ends of ``in_flight`` for ``asynchronous``.

    Attributes:
        worked_through: ends taken in windows so far.
    """

    def __init__(self, asynchronous: Buffering, in_flight: InFlight):
        self.asynchronous = asynchronous
        self.in_flight = in_flight
        self.worked_through = 0
        self._steps = self._steps_left = 0  # to take one by one after the last window, and of them now
        self._inside: tuple[float, Table] | None = None  # within a window: the instant, and replacements
        self._scratch = Scratch.of(asynchronous.server.world.clients)

    def work_through(self) -> Process:
        """Take in ends and fill their places as long as it can be done many at a time."""
        asynchronous, server, in_flight = self.asynchronous, self.asynchronous.server, self.in_flight
        while self._worth_trying():
            ends, fresh = Window(asynchronous, in_flight, self._scratch).settled()
            count = len(ends.rows)
            self._steps = 0 if count >= WORTH else min(2 * self._steps + 1, MOST_STEPS)
            self._steps_left = self._steps
            if not count:
                return
            closes = np.flatnonzero(np.diff(fresh.rows.base_round, prepend=server.next_round))
            taken = 0
            for close in [*closes.tolist(), count]:
                in_flight.note(fresh.take(slice(max(taken - 1, 0), close)))
                asynchronous.gather(ends.rows.take(slice(taken, min(close + 1, count))))
                taken = close + 1
                if close == count:
                    break
                now_s = float(ends.rows.ended_s[close])
                self._inside = (now_s, fresh.take(slice(0, close)))
                asynchronous.ticket = int(ends.ticket[close])
                yield server.clock.until(now_s)
                yield server.clock.hand_over(asynchronous.close())
            self._inside = asynchronous.ticket = None
            self.worked_through += count
            last_s = float(ends.rows.ended_s[-1])
            asynchronous.filled_s, asynchronous.refills = last_s, 0
            yield server.clock.until(last_s)
            begun = int(np.searchsorted(in_flight.table.rows.ended_s, last_s, side="right"))
            stay = in_flight.table.take(slice(begun, None))
            in_flight.table = Table.join([stay, fresh.take(fresh.rows.ended_s > last_s)]).in_order()

    def _worth_trying(self) -> bool:
        """Whether a window is likely to hold many ends, going by the last ones; a matter of speed alone."""
        if not self._steps_left:
            return True
        self._steps_left -= 1
        return False

    def state(self) -> State:
        """Who is at work, in the middle of a window too."""
        if self._inside is None:
            return self.in_flight.state()
        return self.in_flight.state(*self._inside)
