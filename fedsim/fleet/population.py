"""The fleet: up to a million clients as a structure of arrays, and what they answer over time.

Every draw is a function of the seed, its purpose and the client's number, so that a client added
to the fleet changes nobody else. Groups are put in a canonical order first, so that the order of
the mix in a scenario changes nothing. Time 0 is Monday 00:00 UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedsim import rng
from fedsim.errors import ScenarioError
from fedsim.fleet.apportion import apportion
from fedsim.fleet.availability import Always, Availability
from fedsim.fleet.battery import Batteries
from fedsim.fleet.crashes import Crashes
from fedsim.fleet.family import Families, Model, Rows
from fedsim.fleet.group import Group
from fedsim.fleet.pressure import Pressure
from fedsim.fleet.who import Floats, Ints, Who

MOST_CLIENTS = 10_000_000
CHUNK = 1 << 17  # clients asked at a time when the whole fleet is


@dataclass(frozen=True, eq=False)
class Fleet:
    """The clients.

    Attributes:
        groups: in canonical order.
        clients: how many.
        seed: names the random streams.
        group: int16[clients], index into ``groups``.
        speed: float64[clients], factor on the device's speed.
        system_factor: float64[clients], factor on what the device's system holds.
        down_bytes_per_s: float64[clients], each client's own rate from the server.
        up_bytes_per_s: float64[clients], its rate to the server.
        utc_offset_s: float64[clients], what its clock shows beyond UTC.
        appetite: float64[clients], a standard normal draw: how much memory its owner's programs take.
    """

    groups: tuple[Group, ...]
    clients: int
    seed: int
    group: NDArray[np.int16]
    speed: Floats
    system_factor: Floats
    down_bytes_per_s: Floats
    up_bytes_per_s: Floats
    utc_offset_s: Floats
    appetite: Floats

    @staticmethod
    def build(groups: Sequence[Group], clients: int, seed: int) -> Fleet:
        """A fleet of ``clients`` clients in ``groups``.

        Raises:
            ScenarioError: if there is no client, more than ten million, or no group.
        """
        if not 1 <= clients <= MOST_CLIENTS:
            raise ScenarioError(f"a fleet of {clients} clients cannot be; give 1 to {MOST_CLIENTS}")
        order, group = in_order(groups, clients)
        ordered = tuple(groups[number] for number in order)
        index = np.arange(clients, dtype=np.int64)

        def spread(sigma: Callable[[Group], float], *purpose: str) -> Floats:
            """A log-normal factor for each client, median 1."""
            sigmas = np.array([sigma(g) for g in ordered])
            if not sigmas.any():
                return np.ones(clients)
            return np.asarray(np.exp(sigmas[group] * rng.normals(rng.key(seed, *purpose), index)))

        rate = spread(lambda g: g.link.spread, "fleet", "link")  # one factor for both directions
        offsets = np.zeros(clients)
        place = rng.uniforms(rng.key(seed, "fleet", "utc-offset"), index)
        for g, one in enumerate(ordered):
            rows = group == g
            choices = np.asarray(one.utc_offsets_s, dtype=np.float64)
            offsets[rows] = choices[(place[rows] * choices.size).astype(np.int64)]
        return Fleet(
            groups=ordered,
            clients=clients,
            seed=seed,
            group=group,
            speed=spread(lambda g: g.speed_spread, "fleet", "speed"),
            system_factor=spread(lambda g: g.memory_spread, "fleet", "memory"),
            down_bytes_per_s=np.array([g.link.down_bytes_per_s for g in ordered])[group] * rate,
            up_bytes_per_s=np.array([g.link.up_bytes_per_s for g in ordered])[group] * rate,
            utc_offset_s=offsets,
            appetite=rng.normals(rng.key(seed, "fleet", "appetite"), index),
        )

    def who(self, clients: Ints) -> Who:
        """Clients as the models want them."""
        return Who(clients, self.utc_offset_s[clients], self.appetite[clients], self.seed)

    def offline_from_s(self, clients: ArrayLike, time_s: float | Floats) -> Floats:
        """float64[n]: first instant from ``time_s`` on at which each is not online; ``inf`` if none."""
        asked, time = self._asked(clients, time_s)
        result = np.full(time.size, np.inf)
        for model, rows, who in asked.availability:
            if not isinstance(model, Always):
                result[rows] = model.offline_from_s(who, time[rows])
        return result

    def online_from_s(self, clients: ArrayLike, time_s: float | Floats) -> Floats:
        """float64[n]: first instant from ``time_s`` on at which each is online; ``inf`` if none."""
        asked, time = self._asked(clients, time_s)
        result = np.empty(time.size)
        for model, rows, who in asked.availability:
            result[rows] = model.online_from_s(who, time[rows])
        return result

    def next_online_s(self, time_s: float) -> float:
        """First instant from ``time_s`` on at which any client is online; ``inf`` if none."""
        first = np.inf
        for begin in range(0, self.clients, CHUNK):
            some = np.arange(begin, min(begin + CHUNK, self.clients), dtype=np.int64)
            first = min(first, float(self.online_from_s(some, time_s).min()))
            if first <= time_s:
                break
        return first

    def pressure_bytes(self, clients: ArrayLike, time_s: float | Floats) -> Floats:
        """float64[n]: what other programs hold at ``time_s``."""
        asked, time = self._asked(clients, time_s)
        result = np.empty(time.size)
        for model, rows, who in asked.pressure:
            result[rows] = model.bytes_at(who, time[rows])
        return result

    @cached_property
    def pressure_range_bytes(self) -> tuple[Floats, Floats]:
        """float64[clients] twice: what other programs hold at least, at any time, and at most, ever."""
        least, most = np.empty(self.clients), np.empty(self.clients)
        for begin in range(0, self.clients, CHUNK):
            some = np.arange(begin, min(begin + CHUNK, self.clients), dtype=np.int64)
            for model, rows, who in _Asked(self, some).pressure:
                least[some[rows]], most[some[rows]] = model.range_bytes(who)
        return least, most

    def first_exceeds_s(
        self, clients: ArrayLike, limit_bytes: ArrayLike, start_s: float | Floats, end_s: float | Floats
    ) -> Floats:
        """float64[n]: first instant in [start_s, end_s) at which pressure exceeds the limit; ``inf`` if none.

        A start that is not finite makes the span empty.
        """
        asked, start = self._asked(clients, start_s)
        end = np.broadcast_to(np.asarray(end_s, np.float64), start.shape)
        limit = np.broadcast_to(np.asarray(limit_bytes, np.float64), start.shape)
        if not np.isfinite(start).all():
            end = np.where(np.isfinite(start), end, 0.0)
            start = np.where(np.isfinite(start), start, 0.0)
        result = np.empty(start.size)
        for model, rows, who in asked.pressure:
            result[rows] = model.first_exceeds_s(who, limit[rows], start[rows], end[rows])
        return result

    def crash_from_s(self, clients: ArrayLike, time_s: float | Floats) -> Floats | None:
        """float64[n]: first instant after ``time_s`` at which each would crash; None if none ever does."""
        if self._crashes is None:
            return None
        index = np.atleast_1d(np.asarray(clients, dtype=np.int64))
        return self._crashes.after_s(index, np.broadcast_to(np.asarray(time_s, np.float64), index.shape))

    @cached_property
    def _crashes(self) -> Crashes | None:
        per_s = np.array([g.crash_per_s for g in self.groups])
        return Crashes(per_s, self.group, self.seed) if per_s.any() else None

    @cached_property
    def battery(self) -> Batteries | None:
        """The clients' batteries; None if no group has one."""
        models = [g.battery for g in self.groups]
        if all(model is None for model in models):
            return None
        return Batteries(models, self.group, self.utc_offset_s, self.seed)

    @cached_property
    def _availability(self) -> Families[Availability]:
        return Families([g.availability for g in self.groups])

    @cached_property
    def _pressure(self) -> Families[Pressure]:
        return Families([g.pressure for g in self.groups])

    def _asked(self, clients: ArrayLike, time_s: float | Floats) -> tuple[_Asked, Floats]:
        """Those clients, sorted out by model, and one instant for each.

        The same clients are mostly asked about several things in a row, so the last are kept.
        """
        index = np.atleast_1d(np.asarray(clients, dtype=np.int64))
        last: _Asked | None = self.__dict__.get("_last")
        if last is None or not np.array_equal(last.index, index):
            last = _Asked(self, index.copy())
            self.__dict__["_last"] = last
        return last, np.broadcast_to(np.asarray(time_s, dtype=np.float64), index.shape)


def in_order(groups: Sequence[Group], clients: int) -> tuple[list[int], NDArray[np.int16]]:
    """The places in ``groups`` in their canonical order; and int16[clients], each client's place in that.

    Raises:
        ScenarioError: if there is no group.
    """
    order = sorted(range(len(groups)), key=lambda number: groups[number].canonical())
    return order, apportion([groups[number].share for number in order], clients)


class _Asked:
    """Some clients, with the models that answer for them and the rows that each answers for."""

    def __init__(self, fleet: Fleet, index: Ints):
        self._fleet = fleet
        self.index = index

    @cached_property
    def availability(self) -> list[tuple[Availability, Rows, Who]]:
        """Who is online when."""
        return self._sorted_out(self._fleet._availability)

    @cached_property
    def pressure(self) -> list[tuple[Pressure, Rows, Who]]:
        """What else is in memory."""
        return self._sorted_out(self._fleet._pressure)

    def _sorted_out(self, families: Families[Model]) -> list[tuple[Model, Rows, Who]]:
        split = families.split(self._fleet.group[self.index])
        return [(model, rows, self._fleet.who(self.index[rows])) for model, rows in split]
