"""A world small enough to see through: every answer is a number that a test wrote down."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fedsim import rng
from fedsim.engine.world import WorkEstimate


@dataclass
class Client:
    """One client of a :class:`SmallWorld`; times in seconds since the start."""

    down: float = np.inf
    up: float = np.inf
    latency: float = 0.0
    startup: float = 0.0
    compute: float = 10.0
    footprint: float = 1.0
    available: float = np.inf
    examples: float = 1.0
    idle_w: float = 1.0
    compute_w: float = 10.0
    radio_w: float = 2.0
    away: list[tuple[float, float]] = field(default_factory=list)  # [from, until)
    short: list[tuple[float, float]] = field(default_factory=list)  # memory is short in [from, until)
    crashes: list[float] = field(default_factory=list)
    uneven: float = 0.0  # share by which training differs from round to round


class SmallBattery:
    """Batteries that are charged all the time at a constant power, which may be 0."""

    def __init__(self, capacity, floor, initial, charge_w):
        self.capacity, self.floor = np.array(capacity), np.array(floor)
        self.initial, self.charge_w = np.array(initial), np.array(charge_w)

    def initial_j(self, clients):
        return self.initial[clients]

    def start_j(self, clients):
        return self.floor[clients] + 0.1 * self.capacity[clients]

    def drain(self, clients, charge_j, start_s, end_s, power_w):
        net = power_w - self.charge_w[clients]
        left = charge_j - self.floor[clients]
        with np.errstate(divide="ignore", invalid="ignore"):
            empty = np.where(left <= 0, start_s, np.where(net > 0, start_s + left / net, np.inf))
            after = np.minimum(charge_j - net * (end_s - start_s), self.capacity[clients])
        return after, np.where(empty <= end_s, empty, np.inf)


class SmallWorld:
    """Clients given one by one; the model has ``size`` bytes both ways."""

    def __init__(self, clients: list[Client], size: float = 100.0, battery: SmallBattery | None = None):
        self.members = clients
        self.clients = len(clients)
        self.size = size
        self.battery = battery

    def _column(self, clients, name):
        return np.array([getattr(self.members[c], name) for c in clients], dtype=np.float64)

    def online(self, clients, time_s):
        times = np.broadcast_to(np.asarray(time_s, dtype=float), np.shape(clients))
        return np.array(
            [
                not any(a <= t < b for a, b in self.members[c].away)
                for c, t in zip(clients, times, strict=True)
            ],
            dtype=bool,
        )

    @property
    def rounds_alike(self):
        return not any(member.uneven for member in self.members)

    def next_online_s(self, time_s):
        ends = sorted({time_s, *(b for m in self.members for _, b in m.away if b > time_s)})
        everyone = np.arange(self.clients)
        return next((t for t in ends if np.isfinite(t) and self.online(everyone, t).any()), np.inf)

    def estimate(self, clients, round_index, time_s):
        n = len(clients)
        times = np.broadcast_to(np.asarray(time_s, dtype=float), (n,))
        crash = [
            min((t for t in self.members[c].crashes if t > now), default=np.inf)
            for c, now in zip(clients, times, strict=True)
        ]
        draw = rng.uniforms(1, np.asarray(clients, dtype=np.int64), round_index)
        uneven = self._column(clients, "uneven")
        return WorkEstimate(
            client=np.asarray(clients, dtype=np.int64),
            download_bytes=np.full(n, self.size),
            upload_bytes=np.full(n, self.size),
            down_bytes_per_s=self._column(clients, "down"),
            up_bytes_per_s=self._column(clients, "up"),
            latency_s=self._column(clients, "latency"),
            startup_s=self._column(clients, "startup"),
            compute_s=self._column(clients, "compute") * (1 + uneven * draw),
            footprint_bytes=self._column(clients, "footprint"),
            available_bytes=self._column(clients, "available"),
            examples=self._column(clients, "examples"),
            idle_w=self._column(clients, "idle_w"),
            compute_w=self._column(clients, "compute_w"),
            radio_w=self._column(clients, "radio_w"),
            crash_from_s=np.array(crash) if any(m.crashes for m in self.members) else None,
            technique=(np.asarray(clients) + (0 if self.rounds_alike else round_index)) % 3,
        )

    def offline_from_s(self, clients, time_s):
        # The naive engine's clock is SimPy's, whose sums are rounded: an instant just before is at it.
        return np.array(
            [
                min((a if t < a - 1e-9 else t for a, b in self.members[c].away if b > t), default=np.inf)
                for c, t in zip(clients, time_s, strict=True)
            ]
        )

    def online_from_s(self, clients, time_s):
        def back(client, time):
            end = max((b for a, b in self.members[client].away if a - 1e-9 <= time < b), default=time)
            return time if end == time else back(client, end)

        return np.array([back(c, t) for c, t in zip(clients, time_s, strict=True)])

    def oom_from_s(self, estimate, start_s, end_s):
        first = []
        for c, start, end in zip(estimate.client, start_s, end_s, strict=True):
            member = self.members[c]
            times = [max(a, start) for a, b in member.short if b > start]
            if member.footprint > member.available:
                times.append(start)
            found = min(times, default=np.inf)
            first.append(found if found < end else np.inf)
        return np.array(first)
