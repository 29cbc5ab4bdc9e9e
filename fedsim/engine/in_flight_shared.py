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

from fedsim.engine.fluid import FairLink
from fedsim.engine.records import BATTERY, COMPLETED, FAILED, LATE, OFFLINE, OOM, ClientRounds
from fedsim.engine.server_state import ServerState, State, technique_of
from fedsim.engine.ticket import tickets
from fedsim.engine.world import Ints, WorkEstimate
from fedsim.missing import MISSING

ASKING, DOWN, TRAINING, ANSWERING, UP = range(5)  # latency, download, startup and training, latency, upload


@dataclass
class _InFlightClient:
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
    startup_s: float = 0.0
    compute_s: float = 0.0
    upload_s: float = 0.0
    downloaded_bytes: float = 0.0
    uploaded_bytes: float = 0.0
    power_from_s: float = 0.0  # energy is counted up to here


class SharedInFlight:
    """The clients at work."""

    def __init__(self, server: ServerState):
        self.server = server
        self._in_flight: dict[int, _InFlightClient] = {}
        self._busy = np.zeros(0, dtype=np.int64)  # their clients, ascending, and those who have
        self._gone: list[int] = []  # ended since they were last asked for
        self._estimates: dict[int, WorkEstimate] = {}
        self._due: list[tuple[float, int]] = []
        self._limits: list[tuple[float, int]] = []
        self._ended: list[tuple[_InFlightClient, int, float]] = []
        rates = (server.plan.server_down_bytes_per_s, server.plan.server_up_bytes_per_s)
        now_s = server.clock.now_s
        self._links = [None if math.isinf(rate) else FairLink(rate, now_s) for rate in rates]

    def __len__(self) -> int:
        return len(self._in_flight)

    def clients(self) -> Ints:
        """Who is at work, ascending."""
        if self._gone:
            self._busy, self._gone = np.delete(self._busy, np.searchsorted(self._busy, self._gone)), []
        return self._busy

    def dispatch(self, clients: Ints, base_round: int, time_s: float, number: int) -> None:
        """Clients chosen in the request ``number`` start now, with the model of ``base_round``."""
        server, times, given = self.server, np.full(clients.size, time_s), tickets(number, clients).tolist()
        estimate = server.world.estimate(clients, base_round, time_s)
        charge = server.battery_state.charge_j(clients, times)
        offline = server.availability.until_s(clients, times)
        self._busy = np.sort(np.concatenate([self.clients(), clients]))
        for k, client in enumerate(clients.tolist()):
            each = _InFlightClient(client, base_round, given[k], time_s, math.inf, LATE, math.nan)
            self._estimates[client] = estimate.take(slice(k, k + 1))
            each.stop_s, each.stop_why = float(offline[k]), OFFLINE
            if estimate.crash_from_s is not None and estimate.crash_from_s[k] <= each.stop_s:
                each.stop_s, each.stop_why = float(estimate.crash_from_s[k]), FAILED
            self._in_flight[client] = each
            if charge is not None:
                each.charge_j = float(charge[k])
                assert server.battery_state.battery is not None
                if not each.charge_j >= server.battery_state.battery.start_j(clients[k : k + 1])[0]:
                    self._end(each, BATTERY, time_s)
                    continue
            self._begin(each, ASKING, time_s)

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
        return self._rows(ended), np.array([each.ticket for each, _, _ in ended], dtype=np.int64)

    def stop_all(self, now_s: float) -> ClientRounds:
        """Tell everyone to stop now; they are late."""
        stopped = [self._in_flight[client] for client in sorted(self._in_flight)]
        for each in stopped:
            self._stop(each, LATE, now_s)
        ended, self._ended = self._ended, []
        return self._rows([(each, LATE, at) for each, _, at in ended])

    def _next_event_s(self) -> float:
        for heap, name in ((self._due, "due_s"), (self._limits, "limit_s")):
            while heap:
                each = self._in_flight.get(heap[0][1])
                if each is not None and getattr(each, name) == heap[0][0]:
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
                if client in self._in_flight and self._in_flight[client].due_s == due_s:
                    going_on.add(client)
            if not going_on:
                break
            for client in sorted(going_on):
                self._next_phase(self._in_flight[client], now_s)
        while self._limits and self._limits[0][0] <= now_s:
            limit_s, client = heapq.heappop(self._limits)
            each = self._in_flight.get(client)
            if each is not None and each.limit_s == limit_s:
                self._stop(each, each.limit_why, now_s)

    def _next_phase(self, each: _InFlightClient, now_s: float) -> None:
        estimate = self._estimates[each.client]
        self._spend(each, now_s)
        if each.phase == DOWN:
            each.download_s = now_s - each.dispatched_s
            each.downloaded_bytes = float(estimate.download_bytes[0])
        elif each.phase == TRAINING:
            each.startup_s = float(estimate.startup_s[0])
            each.compute_s = float(estimate.compute_s[0])
        elif each.phase == UP:
            each.upload_s = now_s - each.since_s + float(estimate.latency_s[0])
            each.uploaded_bytes = float(estimate.upload_bytes[0])
            self._end(each, COMPLETED, now_s)
            return
        self._begin(each, each.phase + 1, now_s)

    def _begin(self, each: _InFlightClient, phase: int, now_s: float) -> None:
        """A phase begins: when does it end, and when is the client stopped in it?"""
        estimate = self._estimates[each.client]
        each.phase, each.since_s, each.due_s = phase, now_s, math.inf
        if phase in (ASKING, ANSWERING):
            each.due_s = now_s + float(estimate.latency_s[0])
        elif phase == TRAINING:
            each.due_s = now_s + float(estimate.startup_s[0]) + float(estimate.compute_s[0])
        else:
            self._transfer(each, now_s)
        if phase in (ASKING, TRAINING, ANSWERING):  # power changes: so does what the battery lasts for
            each.power_from_s = now_s
            each.limit_s, each.limit_why = self._limit(each, now_s)
            heapq.heappush(self._limits, (each.limit_s, each.client))
        if each.due_s < math.inf:
            heapq.heappush(self._due, (each.due_s, each.client))

    def _transfer(self, each: _InFlightClient, now_s: float) -> None:
        estimate, way = self._estimates[each.client], 0 if each.phase == DOWN else 1
        size = float((estimate.upload_bytes if way else estimate.download_bytes)[0])
        cap = float((estimate.up_bytes_per_s if way else estimate.down_bytes_per_s)[0])
        link = self._links[way]
        if size <= 0.0 or (link is None and math.isinf(cap)):
            each.due_s = now_s
        elif cap <= 0.0:
            each.due_s = math.inf
        elif link is None:
            each.due_s = now_s + size / cap
        else:
            link.advance(now_s)
            link.add_many([each.client], [size], [min(cap, link.rate)])

    def _limit(self, each: _InFlightClient, now_s: float) -> tuple[float, int]:
        """What stops the client first in the phase that begins now, up to the next change of power."""
        limit_s, why = each.stop_s, each.stop_why
        estimate, battery = self._estimates[each.client], self.server.battery_state.battery
        start = np.array([now_s])
        if battery is not None:
            charge, until = np.array([each.charge_j]), np.array([max(limit_s, now_s)])
            _, empty = battery.drain(estimate.client, charge, start, until, self._power_w(each))
            if empty[0] <= limit_s and empty[0] < math.inf:
                limit_s, why = max(float(empty[0]), now_s), BATTERY
        if each.phase == TRAINING:
            started = start + estimate.startup_s
            end = np.maximum(min(each.due_s, limit_s), started)
            oom_s = float(self.server.world.oom_from_s(estimate, started, end)[0])
            if oom_s <= limit_s and oom_s < each.due_s:
                limit_s, why = max(oom_s, float(started[0])), OOM
        return limit_s, why

    def _power_w(self, each: _InFlightClient) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        estimate = self._estimates[each.client]
        return estimate.compute_w if each.phase == TRAINING else estimate.idle_w + estimate.radio_w

    def _spend(self, each: _InFlightClient, now_s: float) -> None:
        """Take what was spent so far from the battery, at the end of a stretch of one power."""
        battery = self.server.battery_state.battery
        if battery is None or each.phase in (ASKING, ANSWERING):
            return
        one = self._estimates[each.client].client
        span = np.array([each.power_from_s]), np.array([now_s])
        after, _ = battery.drain(one, np.array([each.charge_j]), *span, self._power_w(each))
        each.charge_j = float(after[0])

    def _stop(self, each: _InFlightClient, why: int, now_s: float) -> None:
        """A client is stopped where it stands; what it did so far is counted."""
        estimate = self._estimates[each.client]
        battery = self.server.battery_state.battery
        if battery is not None:
            one, charge = estimate.client, np.array([each.charge_j])
            span = np.array([each.power_from_s]), np.array([now_s])
            each.charge_j = float(battery.drain(one, charge, *span, self._power_w(each))[0][0])
        lasted = now_s - each.since_s
        latency = float(estimate.latency_s[0])
        if each.phase in (ASKING, DOWN):
            each.download_s = now_s - each.dispatched_s
        elif each.phase == TRAINING:
            startup_s = float(estimate.startup_s[0])
            each.startup_s = min(lasted, startup_s)
            each.compute_s = max(now_s - (each.since_s + startup_s), 0.0)
        else:
            each.upload_s = lasted if each.phase == ANSWERING else latency + lasted
        if each.phase in (DOWN, UP):
            way = 0 if each.phase == DOWN else 1
            size = float((estimate.upload_bytes if way else estimate.download_bytes)[0])
            cap = float((estimate.up_bytes_per_s if way else estimate.down_bytes_per_s)[0])
            link = self._links[way]
            if link is None:
                moved = 0.0 if cap <= 0.0 or lasted <= 0.0 else min(cap * lasted, size)
            else:
                moved = size - link.remove(each.client, now_s) if each.client in link else 0.0
            if way:
                each.uploaded_bytes = moved
            else:
                each.downloaded_bytes = moved
        self._end(each, why, now_s)

    def _end(self, each: _InFlightClient, why: int, now_s: float) -> None:
        del self._in_flight[each.client]
        self._gone.append(each.client)
        self._ended.append((each, why, now_s))
        if self.server.battery_state.battery is not None:
            client = np.array([each.client])
            self.server.battery_state.note(client, np.array([now_s]), np.array([each.charge_j]))

    def _rows(self, ended: list[tuple[_InFlightClient, int, float]]) -> ClientRounds:
        if not ended:
            return ClientRounds.none()
        in_flight = [each for each, _, _ in ended]
        estimates = [self._estimates.pop(each.client) for each in in_flight]

        def of(name: str, kind: Any = np.float64) -> Any:
            return np.array([getattr(each, name) for each in in_flight], dtype=kind)

        def asked(name: str) -> Any:
            return np.array([getattr(estimate, name)[0] for estimate in estimates], dtype=np.float64)

        download, startup, compute, upload = map(of, ("download_s", "startup_s", "compute_s", "upload_s"))
        transfer_w = asked("idle_w") + asked("radio_w")
        return ClientRounds(
            round=of("base_round", np.int64),
            client=of("client", np.int64),
            dispatched_s=of("dispatched_s"),
            download_s=download,
            startup_s=startup,
            compute_s=compute,
            upload_s=upload,
            ended_s=np.array([at for _, _, at in ended]),
            outcome=np.array([why for _, why, _ in ended], dtype=np.int8),
            footprint_bytes=asked("footprint_bytes"),
            available_bytes=asked("available_bytes"),
            downloaded_bytes=of("downloaded_bytes"),
            uploaded_bytes=of("uploaded_bytes"),
            energy_j=transfer_w * (download + upload) + asked("compute_w") * (startup + compute),
            examples=asked("examples"),
            weight=np.full(len(in_flight), MISSING),
            loss=np.full(len(in_flight), MISSING),
            base_round=of("base_round", np.int64),
            technique=np.concatenate([technique_of(estimate) for estimate in estimates]),
        )

    def state(self) -> State:
        """Who is at work and where each stands, and what the links are doing."""
        in_flight = list(self._in_flight.values())
        return {
            "in_flight": {
                f.name: np.array([getattr(x, f.name) for x in in_flight]) for f in fields(_InFlightClient)
            },
            "links": {str(way): link.state() for way, link in enumerate(self._links) if link is not None},
        }

    def restore(self, state: State) -> None:
        """Go on from what :meth:`state` gave; what clients were estimated is asked again."""
        columns = {name: np.asarray(values).tolist() for name, values in state["in_flight"].items()}
        whole = ("client", "base_round", "ticket", "stop_why", "phase", "limit_why")
        for row in zip(*columns.values(), strict=True):
            values: dict[str, Any] = dict(zip(columns, row, strict=True))
            for name in values:
                values[name] = int(values[name]) if name in whole else float(values[name])
            each = _InFlightClient(**values)
            self._in_flight[each.client] = each
            self._estimates[each.client] = self.server.world.estimate(
                np.array([each.client], dtype=np.int64), each.base_round, each.dispatched_s
            )
            heapq.heappush(self._limits, (each.limit_s, each.client))
            if each.due_s < math.inf:
                heapq.heappush(self._due, (each.due_s, each.client))
        self._busy = np.array(sorted(self._in_flight), dtype=np.int64)
        for way, link in enumerate(self._links):
            if link is not None:
                link.restore(state["links"][str(way)])
