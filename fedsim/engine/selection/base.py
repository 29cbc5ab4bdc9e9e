"""What a selection policy is, and the sampling that they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from fedsim import rng
from fedsim.engine.availability_cache import AvailabilityCache
from fedsim.engine.records import ClientRounds
from fedsim.engine.selection.drawn import AcceptEach, Drawn
from fedsim.engine.world import Bools, Ints, World
from fedsim.options import Choice

FEW = 256  # a fleet that small is looked at as a whole
_DRAW_BITS = 24  # of a draw's number beside its client in one integer; half a fleet at most is drawn

Accept = Callable[[Ints], Bools]


@dataclass(frozen=True)
class SelectionRequest:
    """One occasion on which the server chooses clients.

    Attributes:
        number: which occasion it is, from 0; the counter of random draws.
        round_index: the round that the clients will train for.
        time_s: now.
        count: how many clients are wanted.
        busy: int64, clients at work already, ascending; they cannot be chosen.
    """

    number: int
    round_index: int
    time_s: float
    count: int
    busy: Ints


class Selector(Protocol):
    """A policy at work in one simulation."""

    def choose(self, request: SelectionRequest) -> Ints:
        """Clients to dispatch: online, not busy, each once, at most ``request.count``; in whatever order."""
        ...

    def drawn(self) -> Drawn | None:
        """For many requests that want one client each, in no order: the candidates of each.

        A request chooses the first that is not at work, and that is what :meth:`choose` would choose.
        None if what a request chooses depends on more than that.
        """
        ...

    def learn(self, clients: ClientRounds) -> None:
        """Take note of client-rounds that ended."""
        ...

    def state(self) -> dict[str, Any]:
        """What it remembers: numbers and arrays."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        ...


class Selection(Choice):
    """A policy as configured."""

    point = "selection policy"
    key = "policy"
    adaptive: ClassVar[bool] = True
    """Whether whom it chooses may depend on losses, so that a run that learns may take other times."""

    def begin(self, world: World, availability: AvailabilityCache, seed: int) -> Selector:
        """A selector for one simulation of ``world``, with ``seed`` for its draws."""
        raise NotImplementedError


class Memoryless:
    """The part of a selector that remembers nothing."""

    def drawn(self) -> Drawn | None:
        """Only one request at a time."""
        return None

    def learn(self, clients: ClientRounds) -> None:
        """Nothing to note."""

    def state(self) -> dict[str, Any]:
        """Nothing to remember."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to go on from."""


class Sampler:
    """Draws clients one after another from the whole fleet and passes over those that will not do.

    The cost grows with the sample and with the share that will not do, not with the fleet. The
    sample is the first of the draws that will do, however many are looked at together. Clients are
    looked up in ascending order, in which the memory of a large fleet is read far faster.
    """

    def __init__(self, world: World, availability: AvailabilityCache, stream: int):
        self.world = world
        self.availability = availability
        self.stream = stream
        self._rate = 0.9  # share of draws that will do, as last seen: how many to look at together

    def sample(self, request: SelectionRequest, accept: Accept | None = None) -> Ints:
        """A uniform sample without replacement of the clients that are online, not busy and accepted.

        Args:
            request: how many, when, and who is busy.
            accept: a further test, of clients that are online.

        Returns:
            int64[<= request.count], ascending; shorter only if no more clients will do.
        """
        fleet = self.world.clients
        most = fleet // 2  # after so many draws, look at the fleet as a whole
        if request.count < 1:
            return np.zeros(0, dtype=np.int64)
        if fleet <= FEW or 2 * request.count > most:
            return self._whole(request, accept)
        known = good = nth = np.zeros(0, dtype=np.int64)
        seen = 0
        while seen < most:
            step = int(1.1 * (request.count - good.size) / self._rate) + min(request.count + 2, 16)
            counter = np.arange(seen, min(seen + step, most))
            uniform = rng.uniforms(self.stream, request.number, counter)
            fresh, place = _once((uniform * fleet).astype(np.int64), counter)
            if known.size:
                new = ~np.isin(fresh, known, assume_unique=True)
                fresh, place = fresh[new], place[new]
            seen += counter.size
            will = will_do(self.availability, fresh, request, accept)
            good, nth = np.concatenate([good, fresh[will]]), np.concatenate([nth, place[will]])
            self._rate += (max(good.size, 1) / seen - self._rate) * min(seen / 64, 1.0)
            if good.size >= request.count:
                return np.sort(_first(good, nth, request.count))
            known = np.concatenate([known, fresh])
        return self._whole(request, accept)

    def drawn(self, accept: AcceptEach | None = None) -> Drawn | None:
        """The candidates of many requests; None for a fleet so small that it is looked at as a whole."""
        if self.world.clients <= FEW:
            return None
        return Drawn(self.world.clients, self.availability, self.stream, accept)

    def _whole(self, request: SelectionRequest, accept: Accept | None) -> Ints:
        """The same by looking at every client, in an order drawn at random."""
        everyone = np.arange(self.world.clients, dtype=np.int64)
        good = everyone[will_do(self.availability, everyone, request, accept)]
        place = rng.bits(self.stream ^ 0x2545F4914F6CDD1D, good, request.number)
        return np.sort(_first(good, place, request.count))


def will_do(
    availability: AvailabilityCache, clients: Ints, request: SelectionRequest, accept: Accept | None = None
) -> Bools:
    """Which clients are online and not busy at that request, and accepted by a test of those who are."""
    good = availability.until_s(clients, request.time_s) > request.time_s
    if request.busy.size:
        place = np.searchsorted(request.busy, clients)
        good &= request.busy.take(place, mode="clip") != clients
    if accept is not None and good.any():
        good[good] = accept(clients[good])
    return good


def _once(drawn: Ints, counter: Ints) -> tuple[Ints, Ints]:
    """The clients drawn, each once and ascending, and the number of the draw that was first to give each."""
    both = np.sort((drawn << _DRAW_BITS) | counter)
    clients = both >> _DRAW_BITS
    first = np.ones(both.size, dtype=np.bool_)
    np.not_equal(clients[1:], clients[:-1], out=first[1:])
    return clients[first], both[first] & ((1 << _DRAW_BITS) - 1)


def _first(clients: Ints, place: NDArray[Any], count: int) -> Ints:
    """The ``count`` clients whose places come first, in no particular order."""
    if clients.size <= count:
        return clients
    return clients[np.argpartition(place, count - 1)[:count]]
