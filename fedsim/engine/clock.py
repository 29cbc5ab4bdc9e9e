"""The clock: SimPy's, brought to exact instants, and the place where records are handed out.

A server's process asks for an event at an instant. SimPy is given the delay that is left, so its
rounding never adds up; the instant itself is what counts as now. A record is handed out at the
close of its round, and the process goes on when the next one is asked for.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import simpy

from fedsim.engine.records import RoundRecord

Process = Generator[simpy.Event, Any, None]


class Clock:
    """Simulated time, in seconds since the start.

    Attributes:
        now_s: the present instant.
        reason: why the process ended; None while it goes on.
    """

    def __init__(self, now_s: float):
        self.now_s = now_s
        self.reason: str | None = None
        self._environment = simpy.Environment(initial_time=now_s)
        self._closed = self._environment.event()
        self._go_on: simpy.Event | None = None

    def until(self, time_s: float) -> simpy.Event:
        """An event at ``time_s``, which is now from then on; a time in the past means now."""
        self.now_s = max(self.now_s, time_s)
        return self._environment.timeout(max(time_s - self._environment.now, 0.0))

    def hand_over(self, record: RoundRecord) -> simpy.Event:
        """Give a record to whoever iterates; the event comes when the next one is asked for."""
        self._go_on = self._environment.event()
        self._closed.succeed(record)
        return self._go_on

    def finish(self, reason: str) -> None:
        """Say that there are no more records, and why."""
        self.reason = reason
        self._closed.succeed(None)

    def start(self, process: Process) -> None:
        """Run a server's process on this clock."""
        self._environment.process(process)

    def records(self) -> Iterator[RoundRecord]:
        """What the process hands out, as it goes."""
        while self.reason is None:
            if self._go_on is not None:
                self._go_on.succeed()
                self._go_on = None
            record = self._environment.run(until=self._closed)
            self._closed = self._environment.event()
            if record is not None:
                yield record
