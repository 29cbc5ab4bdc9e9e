"""Clients at work for an asynchronous server whose own link they share.

A transfer that begins or ends changes how fast the others go, so nobody's end is known when they
are dispatched. Each client goes through its phases event by event; the two directions of the
server's link are :class:`~fedsim.engine.fluid.FairLink`. At one instant everything that can go on
does so first, and then whoever is stopped at that instant is stopped.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from fedsim.engine.desk import Desk, State
from fedsim.engine.fluid import FairLink
from fedsim.engine.records import BATTERY, COMPLETED, FAILED, LATE, OFFLINE, OOM, ClientRounds
from fedsim.engine.ticket import tickets
from fedsim.engine.world import Ints, Quote

ASKING, DOWN, TRAINING, ANSWERING, UP = range(5)  # latency, download, training, latency, upload


@dataclass
class _Flight:
    """One client at work, and where it stands; times are absolute."""

    client: int
    base_round: int
    ticket: int
    dispatched_s: float
    stop_s: float  # when it is stopped at the latest, and by what
    stop_why: int
    charge_j: float
    phase: int = ASKING
    since_s: float = 0.0  # start of the transfer or training that is under way
    due_s: float = math.inf  # when the phase ends, if that is known
    limit_s: float = math.inf  # when the client is stopped in this phase, and by what
    limit_why: int = LATE
    download_s: float = 0.0
    compute_s: float = 0.0
    upload_s: float = 0.0
    downloaded_bytes: float = 0.0
    uploaded_bytes: float = 0.0
    power_from_s: float = 0.0  # energy is counted up to here


class SharedFlights:
    """The clients at work."""

    def __init__(self, desk: Desk):
        self.desk = desk
        self._flights: dict[int, _Flight] = {}
        self._busy = np.zeros(0, dtype=np.int64)  # their clients, ascending, and those who have
        self._gone: list[int] = []  # ended since they were last asked for
        self._quotes: dict[int, Quote] = {}
        self._due: list[tuple[float, int]] = []
        self._limits: list[tuple[float, int]] = []
        self._ended: list[tuple[_Flight, int, float]] = []
        rates = (desk.plan.server_down_bytes_per_s, desk.plan.server_up_bytes_per_s)
        now_s = desk.clock.now_s
        self._links = [None if math.isinf(rate) else FairLink(rate, now_s) for rate in rates]

    def __len__(self) -> int:
        return len(self._flights)

    def clients(self) -> Ints:
        """Who is at work, ascending."""
        if self._gone:
            self._busy, self._gone = np.delete(self._busy, np.searchsorted(self._busy, self._gone)), []
        return self._busy

    def dispatch(self, clients: Ints, base_round: int, time_s: float, number: int) -> None:
        """Clients chosen in the turn ``number`` start now, with the model of ``base_round``."""
        desk, times, given = self.desk, np.full(clients.size, time_s), tickets(number, clients).tolist()
        quote = desk.world.quote(clients, base_round, time_s)
        charge = desk.ledger.charge_j(clients, times)
        offline = desk.presence.until_s(clients, times)
        self._busy = np.sort(np.concatenate([self.clients(), clients]))
        for k, client in enumerate(clients.tolist()):
            flight = _Flight(client, base_round, given[k], time_s, math.inf, LATE, math.nan)
            self._quotes[client] = quote.take(slice(k, k + 1))
            flight.stop_s, flight.stop_why = float(offline[k]), OFFLINE
            if quote.crash_from_s is not None and quote.crash_from_s[k] <= flight.stop_s:
                flight.stop_s, flight.stop_why = float(quote.crash_from_s[k]), FAILED
            self._flights[client] = flight
            if charge is not None:
                flight.charge_j = float(charge[k])
                assert desk.ledger.battery is not None
                if not flight.charge_j >= desk.ledger.battery.start_j(clients[k : k + 1])[0]:
                    self._end(flight, BATTERY, time_s)
                    continue
            self._begin(flight, ASKING, time_s)

    def next_end_s(self, limit_s: float) -> float:
        """When the next client ends; anything later than ``limit_s`` if none does by then."""
        while not self._ended:
            at = self._next_event_s()
            if at > limit_s or math.isinf(at):
                return at
            self._work(at)
        return self._ended[0][2]

    def pop_ended(self, now_s: float) -> tuple[ClientRounds, Ints]:
        """The clients that ended by ``now_s``, in order of their ends, then of their numbers.

        Returns:
            Their rows and their tickets.
        """
        ended, self._ended = sorted(self._ended, key=lambda e: (e[2], e[0].client)), []
        return self._rows(ended), np.array([flight.ticket for flight, _, _ in ended], dtype=np.int64)

    def stop_all(self, now_s: float) -> ClientRounds:
        """Tell everyone to stop now; they are late."""
        stopped = [self._flights[client] for client in sorted(self._flights)]
        for flight in stopped:
            self._stop(flight, LATE, now_s)
        ended, self._ended = self._ended, []
        return self._rows([(flight, LATE, at) for flight, _, at in ended])

    def _next_event_s(self) -> float:
        for heap, name in ((self._due, "due_s"), (self._limits, "limit_s")):
            while heap:
                flight = self._flights.get(heap[0][1])
                if flight is not None and getattr(flight, name) == heap[0][0]:
                    break
                heapq.heappop(heap)
        times = [heap[0][0] for heap in (self._due, self._limits) if heap]
        times += [link.next_end_s() for link in self._links if link is not None]
        return min(times, default=math.inf)

    def _work(self, now_s: float) -> None:
        """Everything that happens at this instant: first whatever goes on, then whoever is stopped."""
        while True:
            going_on: set[int] = set()
            for link in self._links:
                if link is not None and link.next_end_s() <= now_s:
                    going_on.update(link.pop_ended(now_s))
            while self._due and self._due[0][0] <= now_s:
                due_s, client = heapq.heappop(self._due)
                if client in self._flights and self._flights[client].due_s == due_s:
                    going_on.add(client)
            if not going_on:
                break
            for client in sorted(going_on):
                self._next_phase(self._flights[client], now_s)
        while self._limits and self._limits[0][0] <= now_s:
            limit_s, client = heapq.heappop(self._limits)
            flight = self._flights.get(client)
            if flight is not None and flight.limit_s == limit_s:
                self._stop(flight, flight.limit_why, now_s)

    def _next_phase(self, flight: _Flight, now_s: float) -> None:
        quote = self._quotes[flight.client]
        self._spend(flight, now_s)
        if flight.phase == DOWN:
            flight.download_s = now_s - flight.dispatched_s
            flight.downloaded_bytes = float(quote.download_bytes[0])
        elif flight.phase == TRAINING:
            flight.compute_s = float(quote.compute_s[0])
        elif flight.phase == UP:
            flight.upload_s = now_s - flight.since_s + float(quote.latency_s[0])
            flight.uploaded_bytes = float(quote.upload_bytes[0])
            self._end(flight, COMPLETED, now_s)
            return
        self._begin(flight, flight.phase + 1, now_s)

    def _begin(self, flight: _Flight, phase: int, now_s: float) -> None:
        """A phase begins: when does it end, and when is the client stopped in it?"""
        quote = self._quotes[flight.client]
        flight.phase, flight.since_s, flight.due_s = phase, now_s, math.inf
        if phase in (ASKING, ANSWERING):
            flight.due_s = now_s + float(quote.latency_s[0])
        elif phase == TRAINING:
            flight.due_s = now_s + float(quote.compute_s[0])
        else:
            self._transfer(flight, now_s)
        if phase in (ASKING, TRAINING, ANSWERING):  # power changes: so does what the battery lasts for
            flight.power_from_s = now_s
            flight.limit_s, flight.limit_why = self._limit(flight, now_s)
            heapq.heappush(self._limits, (flight.limit_s, flight.client))
        if flight.due_s < math.inf:
            heapq.heappush(self._due, (flight.due_s, flight.client))

    def _transfer(self, flight: _Flight, now_s: float) -> None:
        quote, way = self._quotes[flight.client], 0 if flight.phase == DOWN else 1
        size = float((quote.upload_bytes if way else quote.download_bytes)[0])
        cap = float((quote.up_bytes_per_s if way else quote.down_bytes_per_s)[0])
        link = self._links[way]
        if size <= 0.0 or (link is None and math.isinf(cap)):
            flight.due_s = now_s
        elif cap <= 0.0:
            flight.due_s = math.inf
        elif link is None:
            flight.due_s = now_s + size / cap
        else:
            link.advance(now_s)
            link.add_many([flight.client], [size], [min(cap, link.rate)])

    def _limit(self, flight: _Flight, now_s: float) -> tuple[float, int]:
        """What stops the client first in the phase that begins now, up to the next change of power."""
        limit_s, why = flight.stop_s, flight.stop_why
        quote, battery = self._quotes[flight.client], self.desk.ledger.battery
        start = np.array([now_s])
        if battery is not None:
            charge, until = np.array([flight.charge_j]), np.array([max(limit_s, now_s)])
            _, empty = battery.drain(quote.client, charge, start, until, self._power_w(flight))
            if empty[0] <= limit_s and empty[0] < math.inf:
                limit_s, why = max(float(empty[0]), now_s), BATTERY
        if flight.phase == TRAINING:
            end_s = max(min(flight.due_s, limit_s), now_s)
            oom_s = float(self.desk.world.oom_from_s(quote, start, np.array([end_s]))[0])
            if oom_s <= limit_s and oom_s < flight.due_s:
                limit_s, why = max(oom_s, now_s), OOM
        return limit_s, why

    def _power_w(self, flight: _Flight) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        quote = self._quotes[flight.client]
        return quote.compute_w if flight.phase == TRAINING else quote.idle_w + quote.radio_w

    def _spend(self, flight: _Flight, now_s: float) -> None:
        """Take what was spent so far from the battery, at the end of a stretch of one power."""
        battery = self.desk.ledger.battery
        if battery is None or flight.phase in (ASKING, ANSWERING):
            return
        one = self._quotes[flight.client].client
        span = np.array([flight.power_from_s]), np.array([now_s])
        after, _ = battery.drain(one, np.array([flight.charge_j]), *span, self._power_w(flight))
        flight.charge_j = float(after[0])

    def _stop(self, flight: _Flight, why: int, now_s: float) -> None:
        """A client is stopped where it stands; what it did so far is counted."""
        quote = self._quotes[flight.client]
        battery = self.desk.ledger.battery
        if battery is not None:
            one, charge = quote.client, np.array([flight.charge_j])
            span = np.array([flight.power_from_s]), np.array([now_s])
            flight.charge_j = float(battery.drain(one, charge, *span, self._power_w(flight))[0][0])
        lasted = now_s - flight.since_s
        latency = float(quote.latency_s[0])
        if flight.phase in (ASKING, DOWN):
            flight.download_s = now_s - flight.dispatched_s
        elif flight.phase == TRAINING:
            flight.compute_s = lasted
        else:
            flight.upload_s = lasted if flight.phase == ANSWERING else latency + lasted
        if flight.phase in (DOWN, UP):
            way = 0 if flight.phase == DOWN else 1
            size = float((quote.upload_bytes if way else quote.download_bytes)[0])
            cap = float((quote.up_bytes_per_s if way else quote.down_bytes_per_s)[0])
            link = self._links[way]
            if link is None:
                moved = 0.0 if cap <= 0.0 or lasted <= 0.0 else min(cap * lasted, size)
            else:
                moved = size - link.remove(flight.client, now_s) if flight.client in link else 0.0
            if way:
                flight.uploaded_bytes = moved
            else:
                flight.downloaded_bytes = moved
        self._end(flight, why, now_s)

    def _end(self, flight: _Flight, why: int, now_s: float) -> None:
        del self._flights[flight.client]
        self._gone.append(flight.client)
        self._ended.append((flight, why, now_s))
        if self.desk.ledger.battery is not None:
            client = np.array([flight.client])
            self.desk.ledger.note(client, np.array([now_s]), np.array([flight.charge_j]))

    def _rows(self, ended: list[tuple[_Flight, int, float]]) -> ClientRounds:
        if not ended:
            return ClientRounds.none()
        flights = [flight for flight, _, _ in ended]
        quotes = [self._quotes.pop(flight.client) for flight in flights]

        def of(name: str, kind: Any = np.float64) -> Any:
            return np.array([getattr(flight, name) for flight in flights], dtype=kind)

        def asked(name: str) -> Any:
            return np.array([getattr(quote, name)[0] for quote in quotes], dtype=np.float64)

        download, compute, upload = of("download_s"), of("compute_s"), of("upload_s")
        transfer_w = asked("idle_w") + asked("radio_w")
        return ClientRounds(
            round=of("base_round", np.int64),
            client=of("client", np.int64),
            dispatched_s=of("dispatched_s"),
            download_s=download,
            compute_s=compute,
            upload_s=upload,
            ended_s=np.array([at for _, _, at in ended]),
            outcome=np.array([why for _, why, _ in ended], dtype=np.int8),
            footprint_bytes=asked("footprint_bytes"),
            available_bytes=asked("available_bytes"),
            downloaded_bytes=of("downloaded_bytes"),
            uploaded_bytes=of("uploaded_bytes"),
            energy_j=transfer_w * (download + upload) + asked("compute_w") * compute,
            examples=asked("examples"),
            weight=np.full(len(flights), np.nan),
            loss=np.full(len(flights), np.nan),
            base_round=of("base_round", np.int64),
        )

    def state(self) -> State:
        """Who is at work and where each stands, and what the links are doing."""
        flights = list(self._flights.values())
        return {
            "flights": {f.name: np.array([getattr(x, f.name) for x in flights]) for f in fields(_Flight)},
            "links": {str(way): link.state() for way, link in enumerate(self._links) if link is not None},
        }

    def restore(self, state: State) -> None:
        """Go on from what :meth:`state` gave; what clients were quoted is asked again."""
        columns = {name: np.asarray(values).tolist() for name, values in state["flights"].items()}
        whole = ("client", "base_round", "ticket", "stop_why", "phase", "limit_why")
        for row in zip(*columns.values(), strict=True):
            values: dict[str, Any] = dict(zip(columns, row, strict=True))
            for name in values:
                values[name] = int(values[name]) if name in whole else float(values[name])
            flight = _Flight(**values)
            self._flights[flight.client] = flight
            self._quotes[flight.client] = self.desk.world.quote(
                np.array([flight.client], dtype=np.int64), flight.base_round, flight.dispatched_s
            )
            heapq.heappush(self._limits, (flight.limit_s, flight.client))
            if flight.due_s < math.inf:
                heapq.heappush(self._due, (flight.due_s, flight.client))
        self._busy = np.array(sorted(self._flights), dtype=np.int64)
        for way, link in enumerate(self._links):
            if link is not None:
                link.restore(state["links"][str(way)])
