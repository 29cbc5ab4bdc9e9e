"""What the engine is handed: a world to ask, and a learner to call.

The engine knows neither devices nor models. It asks a :class:`World` who is online, what a round
would cost each client (:class:`WorkEstimate`: seconds, bytes, watts) and when something will stop a
client, and it tells a :class:`Learner` whose updates arrived. Every answer of a world is a pure
function of client and time: asking about the future changes nothing.

Directions are those of a client: *down* is from the server to a client, *up* is back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Times = float | Floats  # one instant for all, or one for each client, in seconds since the start


@dataclass(frozen=True)
class WorkEstimate:
    """What one client-round would take, for each of n clients; all arrays have shape [n].

    Attributes:
        client: int64, the clients' numbers.
        download_bytes: size of the model as sent to the client.
        upload_bytes: size of the update as sent back.
        down_bytes_per_s: the client's own rate from the server; may be infinite.
        up_bytes_per_s: the client's own rate to the server; may be infinite.
        latency_s: time added once to each transfer, during which nothing moves.
        startup_s: seconds from the end of the download to the first step: process, imports, model, data.
        compute_s: seconds of training if nothing interrupts it.
        footprint_bytes: peak bytes of a training step.
        available_bytes: what the client's memory has free for it at dispatch.
        examples: utterances trained on.
        idle_w: power while transferring, radio aside.
        compute_w: power while starting up and training.
        radio_w: power that the radio adds while transferring.
        crash_from_s: first instant from dispatch on at which the client crashes; None if none ever does.
        technique: int64, in which of the run's ways it trains, for the learner; None: all in the first.
        mark: int64, the world's own, handed back to it; the engine makes nothing of it.
    """

    client: Ints
    download_bytes: Floats
    upload_bytes: Floats
    down_bytes_per_s: Floats
    up_bytes_per_s: Floats
    latency_s: Floats
    startup_s: Floats
    compute_s: Floats
    footprint_bytes: Floats
    available_bytes: Floats
    examples: Floats
    idle_w: Floats
    compute_w: Floats
    radio_w: Floats
    crash_from_s: Floats | None = None
    technique: Ints | None = None
    mark: Ints | None = None

    def __len__(self) -> int:
        return int(self.client.size)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp] | slice) -> WorkEstimate:
        """The same for some of the clients only."""
        taken: dict[str, Any] = {}
        for name in (f.name for f in fields(self)):
            values = getattr(self, name)
            taken[name] = None if values is None else values[rows]
        return WorkEstimate(**taken)


class Battery(Protocol):
    """Batteries of a world's clients, as pure functions; the engine keeps the charge.

    A client without a battery has infinite charge.
    """

    def initial_j(self, clients: Ints) -> Floats:
        """Charge at time 0, joules."""
        ...

    def start_j(self, clients: Ints) -> Floats:
        """Charge that a client needs to accept work, joules; it refuses with less."""
        ...

    def drain(
        self, clients: Ints, charge_j: Floats, start_s: Floats, end_s: Floats, power_w: Floats
    ) -> tuple[Floats, Floats]:
        """Spend ``power_w`` from ``start_s`` to ``end_s`` (may be infinite), charging where plugged in.

        Returns:
            The charge at ``end_s``, and the first instant in [start_s, end_s] at which the charge is
            down to the floor at which a client gives up, infinite if there is none. After that
            instant the charge is undefined.
        """
        ...


class World(Protocol):
    """What the engine asks. Where a time is asked for, ``inf`` means never."""

    @property
    def clients(self) -> int:
        """How many clients there are, numbered from 0."""
        ...

    @property
    def battery(self) -> Battery | None:
        """The clients' batteries; None if all are always powered."""
        ...

    @property
    def rounds_alike(self) -> bool:
        """Whether an estimate is the same whatever the round."""
        ...

    def next_online_s(self, time_s: float) -> float:
        """The first instant from ``time_s`` on at which any client is online."""
        ...

    def estimate(self, clients: Ints, round_index: int | Ints, time_s: Times) -> WorkEstimate:
        """What a round dispatched at ``time_s`` would take each client."""
        ...

    def offline_from_s(self, clients: Ints, time_s: Floats) -> Floats:
        """The first instant from ``time_s`` on at which each client cannot be reached or is not willing.

        A client is online at ``time_s`` exactly if that is later. Asked at any instant of a span
        online, the answer is the same end of it.
        """
        ...

    def online_from_s(self, clients: Ints, time_s: Floats) -> Floats:
        """The first instant from ``time_s`` on at which each client is online."""
        ...

    def oom_from_s(self, estimate: WorkEstimate, start_s: Floats, end_s: Floats) -> Floats:
        """The first instant in [start_s, end_s) at which memory is short; ``inf`` for an empty span."""
        ...


class RoundLearning(Protocol):
    """What the learner made of one round, in the order in which it was given the clients."""

    @property
    def loss(self) -> Floats:
        """Mean training loss of each client; ``MISSING`` for one that was not trained for real."""
        ...

    @property
    def weight(self) -> Floats:
        """Weight of each update in the new model: 1 in all over the accepted; ``MISSING`` if unknown."""
        ...

    @property
    def accepted(self) -> Bools:
        """Whether each update was used."""
        ...

    @property
    def metrics(self) -> Sequence[tuple[str, str, float]]:
        """Evaluations at the end of the round: (metric, split, value)."""
        ...

    @property
    def examples(self) -> Floats:
        """On how many different examples each trained; ``MISSING`` where only the clock knows."""
        ...


class Learner(Protocol):
    """What makes the next model of the updates that arrived."""

    def train(self, round_index: int, clients: Ints, base_round: Ints, technique: Ints) -> RoundLearning:
        """Train and aggregate; called at every close.

        Args:
            round_index: the round that closes; the model becomes that of round ``round_index + 1``.
            clients: int64[n], who completed, in order of arrival; if there is none, the model stays
                as it was.
            base_round: int64[n], the round whose model each started from; equal to ``round_index``
                unless rounds are asynchronous.
            technique: int64[n], in which of the run's ways each trained.
        """
        ...
