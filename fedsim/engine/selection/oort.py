"""Oort: clients whose data help most and who are fast enough, and some who were never tried.

After Lai, Zhu, Madhyastha and Chowdhury, "Oort: Efficient Federated Learning via Guided Participant
Selection", OSDI 2021 (algorithm 1). A client's utility is that of its data, ``examples x loss``
(the paper takes the root mean square of the losses of its examples; a client here reports their
mean), plus a bonus for having been left alone for long, times a penalty ``(T / t) ** alpha`` if it
takes longer than the preferred time T. T is a percentile of the times seen; a pacer relaxes it when
the utility that came in falls.

Oort learns from losses, so under it, alone of all policies, the times of a run with a learner
differ from those of a timing-only run, in which a client's data count by their number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedsim import rng
from fedsim.engine.availability_cache import AvailabilityCache
from fedsim.engine.records import COMPLETED, REJECTED, ClientRounds
from fedsim.engine.selection.base import Sampler, Selection, SelectionRequest, Selector, will_do
from fedsim.engine.selection.drawn import Drawn
from fedsim.engine.world import Floats, Ints, World
from fedsim.options import kind, option

_NONE = np.zeros(0, dtype=np.intp)


@dataclass(frozen=True)
class Oort(Selection):
    """Guided selection; the defaults are the paper's."""

    explore: float = option(0.9, "share of a first cohort that was never tried", ge=0, le=1)
    explore_decay: float = option(0.98, "factor on that share after each round", ge=0, le=1)
    explore_least: float = option(0.2, "the share that it falls to", ge=0, le=1)
    penalty: float = option(2.0, "exponent alpha on being too slow", ge=0)
    cutoff: float = option(
        0.95, "clients within this share of the least utility that would be chosen are drawn from", ge=0, le=1
    )
    percentile: float = option(30.0, "of the times seen, the preferred one", ge=0, le=100)
    pace_rounds: int = option(20, "rounds after which the pacer looks at what came in", ge=1)
    pace_step: float = option(5.0, "percentile points by which it then relaxes", ge=0, le=100)
    most_rounds: int = option(
        10, "a client that took part so often is not chosen for its utility any more", ge=1
    )
    policy: Literal["oort"] = kind("oort")

    def begin(self, world: World, availability: AvailabilityCache, seed: int) -> Selector:
        """A selector for one simulation."""
        return _Oort(self, world, availability, seed)


class _Oort:
    """What it remembers of each client it has tried, in order of their first try."""

    def __init__(self, policy: Oort, world: World, availability: AvailabilityCache, seed: int):
        self.policy = policy
        self.availability = availability
        self.sampler = Sampler(world, availability, rng.key(seed, "selection", "oort", "explore"))
        self.stream = rng.key(seed, "selection", "oort", "exploit")
        self.place = np.full(world.clients, -1, dtype=np.int64)  # of a client in the arrays below
        self.client = np.zeros(0, dtype=np.int64)
        self.gain = np.zeros(0)  # utility of its data when last seen; 0 if it never completed
        self.took_s = np.zeros(0)
        self.last_round = np.zeros(0, dtype=np.int64)
        self.times = np.zeros(0, dtype=np.int64)
        self.rounds = 0
        self.percentile = policy.percentile
        self.gains: list[float] = []  # what each round brought

    def choose(self, request: SelectionRequest) -> Ints:
        policy = self.policy
        share = max(policy.explore * policy.explore_decay**self.rounds, policy.explore_least)
        ranked, useful = self._exploit(request)
        wanted = max(request.count - int(request.count * share), 0) if self.client.size else 0
        old = ranked[: min(wanted, useful)]

        def untried(clients: Ints) -> NDArray[np.bool_]:
            return np.asarray(self.place[clients] < 0)

        fresh = self.sampler.sample(_with(request, request.count - old.size), untried)
        if fresh.size < request.count - old.size:
            old = ranked[: request.count - fresh.size]
        return np.concatenate([old, fresh])

    def _exploit(self, request: SelectionRequest) -> tuple[Ints, int]:
        """Tried clients in order of choice, and how many of them, at the front, promise to be useful.

        First a draw by utility from those near the top, then the other useful ones; then those that
        took part often enough or never completed, the least tried first.
        """
        rows = np.flatnonzero(will_do(self.availability, self.client, request)) if self.client.size else _NONE
        useful = (self.times[rows] < self.policy.most_rounds) & (self.gain[rows] > 0.0)
        some, others = rows[useful], rows[~useful]
        if some.size:
            utility = self._utility(some)
            least = np.sort(utility)[::-1][min(request.count, some.size) - 1]
            top = utility >= self.policy.cutoff * least
            draw = rng.uniforms(self.stream, self.client[some], request.number)
            key = np.log(draw) / utility  # Efraimidis and Spirakis, 2006: drawing by weight, none twice
            some = some[np.lexsort((self.client[some], -key, ~top))]
        others = others[np.lexsort((self.client[others], self.times[others]))]
        return self.client[np.concatenate([some, others])], some.size

    def _utility(self, rows: NDArray[np.intp]) -> Floats:
        gain = self.gain[rows]
        gain = np.minimum(gain, np.quantile(gain, 0.95))  # outliers are cut, as in the paper
        waited = np.maximum(self.last_round[rows], 1)
        bonus = np.sqrt(0.1 * math.log(max(self.rounds, 2)) / waited) * gain.mean()
        slow = np.minimum(self._preferred_s() / np.maximum(self.took_s[rows], 1e-9), 1.0)
        return np.asarray((gain + bonus) * slow**self.policy.penalty)

    def _preferred_s(self) -> float:
        """T: a percentile of the times that clients took."""
        took = self.took_s[self.took_s > 0.0]
        return float(np.percentile(took, self.percentile)) if took.size else math.inf

    def drawn(self) -> Drawn | None:
        """Only one request at a time, since a request depends on the one before."""
        return None

    def learn(self, clients: ClientRounds) -> None:
        self.rounds += 1
        new = clients.client[self.place[clients.client] < 0]
        new = new[np.sort(np.unique(new, return_index=True)[1])]
        self.place[new] = self.client.size + np.arange(new.size)
        self.client = np.concatenate([self.client, new])
        for name in ("gain", "took_s", "last_round", "times"):
            old = getattr(self, name)
            setattr(self, name, np.concatenate([old, np.zeros(new.size, dtype=old.dtype)]))
        at = self.place[clients.client]
        self.last_round[at] = self.rounds
        np.add.at(self.times, at, 1)
        done = (clients.outcome == COMPLETED) | (clients.outcome == REJECTED)
        loss = np.where(np.isfinite(clients.loss), clients.loss, 1.0)
        gain = np.where(done, clients.examples * np.maximum(loss, 0.0), 0.0)
        self.gain[at] = gain
        self.took_s[at] = clients.ended_s - clients.dispatched_s
        self.gains.append(float(gain.sum()))
        window, step = self.policy.pace_rounds, self.policy.pace_step
        if self.rounds % window == 0 and self.rounds >= 2 * window:
            if sum(self.gains[-window:]) < sum(self.gains[-2 * window : -window]):
                self.percentile = min(self.percentile + step, 100.0)
            self.gains = self.gains[-window:]

    def state(self) -> dict[str, Any]:
        return {
            "client": self.client.copy(),
            "gain": self.gain.copy(),
            "took_s": self.took_s.copy(),
            "last_round": self.last_round.copy(),
            "times": self.times.copy(),
            "rounds": self.rounds,
            "percentile": self.percentile,
            "gains": np.array(self.gains),
        }

    def restore(self, state: dict[str, Any]) -> None:
        for name in ("client", "gain", "took_s", "last_round", "times"):
            setattr(self, name, np.array(state[name]))
        self.place[self.client] = np.arange(self.client.size)
        self.rounds, self.percentile = int(state["rounds"]), float(state["percentile"])
        self.gains = [float(g) for g in state["gains"]]


def _with(request: SelectionRequest, count: int) -> SelectionRequest:
    return SelectionRequest(request.number, request.round_index, request.time_s, count, request.busy)
