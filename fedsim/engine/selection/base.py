"""What a selection policy is, and the sampling that they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from fedsim import rng
from fedsim.engine.records import ClientRounds
from fedsim.engine.world import Bools, Ints, World

FEW = 256  # a fleet that small is looked at as a whole

Accept = Callable[[Ints], Bools]


@dataclass(frozen=True)
class Turn:
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

    def choose(self, turn: Turn) -> Ints:
        """Clients to dispatch: online, not busy, each once, at most ``turn.count``; in order of choice."""
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


class Selection(Protocol):
    """A policy as configured."""

    def begin(self, world: World, seed: int) -> Selector:
        """A selector for one simulation."""
        ...


class Memoryless:
    """The part of a selector that remembers nothing."""

    def learn(self, clients: ClientRounds) -> None:
        """Nothing to note."""

    def state(self) -> dict[str, Any]:
        """Nothing to remember."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to go on from."""


def sample(world: World, stream: int, turn: Turn, accept: Accept | None = None) -> Ints:
    """A uniform sample without replacement of the clients that are online, not busy and accepted.

    Clients are drawn one after another from the whole fleet and those that will not do are passed
    over, so the cost grows with the sample and the share that will not do, not with the fleet.
    When as many were drawn as there are clients, the fleet is looked at as a whole instead.

    Args:
        world: who is online.
        stream: key of the random stream.
        turn: how many, when, and who is busy.
        accept: a further test, of clients that are online.

    Returns:
        int64[<= turn.count], in the order drawn; shorter only if no more clients will do.
    """
    fleet = world.clients
    if fleet > FEW and 2 * turn.count < fleet:
        found: list[Ints] = []
        seen = np.zeros(0, dtype=np.int64)
        have, drawn, step = 0, 0, turn.count + turn.count // 16 + 8
        while drawn + step <= fleet:
            uniform = rng.uniforms(stream, turn.number, np.arange(drawn, drawn + step))
            fresh = _first_seen((uniform * fleet).astype(np.int64))
            if seen.size:
                fresh = fresh[~np.isin(fresh, seen)]
            drawn += step
            good = fresh[_will_do(world, fresh, turn, accept)]
            found.append(good)
            have += good.size
            if have >= turn.count:
                return np.concatenate(found)[: turn.count]
            seen = np.concatenate([seen, fresh])
            rate = max(have / drawn, 1.0 / drawn)
            step = int(1.1 * (turn.count - have) / rate) + 8
    everyone = np.arange(fleet, dtype=np.int64)
    order = np.argsort(rng.bits(stream ^ 0x2545F4914F6CDD1D, everyone, turn.number), kind="stable")
    everyone = everyone[order]
    return everyone[_will_do(world, everyone, turn, accept)][: turn.count]


def _first_seen(values: Ints) -> Ints:
    """The values without repetition, each where it came first."""
    _, first = np.unique(values, return_index=True)
    if first.size == values.size:
        return values
    return values[np.sort(first)]


def _will_do(world: World, clients: Ints, turn: Turn, accept: Accept | None) -> Bools:
    good = world.online(clients, turn.time_s)
    if turn.busy.size:
        good = good & ~np.isin(clients, turn.busy)
    if accept is not None and good.any():
        good = good.copy()
        good[good] = accept(clients[good])
    return good
