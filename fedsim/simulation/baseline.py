"""The time plane of the baselines: what federated training is held against, on a clock of its own.

- ``centralised``: one machine, ``server.device``, has all the data. It is always on, shares its
  memory with nobody and sends nothing; a round is as many examples as a whole cohort trains on,
  so that it makes as many updates as the federation. It becomes a scenario of one client.
- ``local-only``: one client with its own device, hours of availability and background programs,
  asked in every round, with nothing to download and nothing to send.
- ``no-pretraining``: no rounds at all, hence no clock: everything happens at time 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedsim.engine.completion import WaitAll
from fedsim.engine.selection import Random
from fedsim.engine.world import WorkEstimate
from fedsim.fleet.battery import Batteries
from fedsim.learning.aggregate import Uniform
from fedsim.learning.compression import Whole
from fedsim.scenario import Scenario
from fedsim.scenario.model import FleetSpec, MixEntry
from fedsim.simulation.world import FleetWorld, make_workloads

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def kind_of(scenario: Scenario) -> str | None:
    """The baseline that a scenario asks for; None: the federation itself."""
    return None if scenario.learning is None else scenario.learning.baseline


def on_server(scenario: Scenario) -> Scenario:
    """The scenario of one client, ``server.device``, that does a cohort's work in every round.

    Its work is the cohort's size times what a client holds on average, in examples; batch size,
    passes and techniques stay; :class:`Alone` leaves its transfers out.
    """
    assert scenario.server.device is not None
    work = scenario.workload
    given = work.utterances if work.examples is None else work.examples
    if given is None:
        loads, _ = make_workloads(work, scenario.training.batch_size, scenario.fleet.clients, scenario.seed)
        clients = np.arange(scenario.fleet.clients, dtype=np.int64)
        held = float(loads.utterances[loads.of(clients)].mean())
    else:
        held = float(given)
    cohort = min(scenario.rounds.cohort, scenario.fleet.clients)
    all_of_it = max(1, round(cohort * held))
    work = replace(work, utterances=all_of_it) if work.examples is None else replace(work, examples=all_of_it)
    machine = MixEntry(device=scenario.server.device, share=1.0, link="instant")
    rounds = replace(
        scenario.rounds,
        cohort=1,
        select=Random(),
        close=WaitAll(),
        aggregate=Uniform(),
        compression=Whole(),
    )
    return replace(
        scenario,
        fleet=FleetSpec(clients=1, mix=(machine,)),
        workload=work,
        rounds=rounds,
    )


@dataclass(frozen=True, eq=False)
class _Battery:
    """The battery of one client, who is client 0 here."""

    inner: Batteries
    client: int

    def initial_j(self, clients: Ints) -> Floats:
        return self.inner.initial_j(clients + self.client)

    def start_j(self, clients: Ints) -> Floats:
        return self.inner.start_j(clients + self.client)

    def drain(
        self, clients: Ints, charge_j: Floats, start_s: Floats, end_s: Floats, power_w: Floats
    ) -> tuple[Floats, Floats]:
        return self.inner.drain(clients + self.client, charge_j, start_s, end_s, power_w)


@dataclass(frozen=True, eq=False)
class Alone:
    """A world of one client, number 0 here, who is ``client`` of the fleet; implements ``World``.

    Everything that is a function of the client is that client's; only transfers and startups are left out.
    """

    inner: FleetWorld
    client: int

    def at_speeds(self, factors: Floats) -> Alone:
        """The same, where training takes float64[techniques, kinds] times as long."""
        return replace(self, inner=self.inner.at_speeds(factors))

    @property
    def clients(self) -> int:
        return 1

    @property
    def device(self) -> Ints:
        """int64[1], the client's position in the fleet's devices."""
        return self.inner.device[[self.client]]

    @property
    def kind(self) -> Ints:
        """int64[1], the client's position in the fleet's kinds."""
        return self.inner.kind[[self.client]]

    @property
    def battery(self) -> _Battery | None:
        """The client's battery; None if no client of the fleet has one."""
        batteries = self.inner.battery
        return None if batteries is None else _Battery(batteries, self.client)

    def next_online_s(self, time_s: float) -> float:
        """The first instant from ``time_s`` on at which the client is willing."""
        me = np.array([self.client], dtype=np.int64)
        return float(self.inner.fleet.online_from_s(me, time_s)[0])

    @property
    def rounds_alike(self) -> bool:
        """Whether an estimate is the same whatever the round."""
        return self.inner.rounds_alike

    def offline_from_s(self, clients: Ints, time_s: Floats) -> Floats:
        """The first instant from ``time_s`` on at which the client is not willing."""
        return self.inner.offline_from_s(clients + self.client, time_s)

    def online_from_s(self, clients: Ints, time_s: Floats) -> Floats:
        """The first instant from ``time_s`` on at which the client is willing."""
        return self.inner.online_from_s(clients + self.client, time_s)

    def room_bytes(self, clients: Ints) -> Floats:
        """Memory that the system leaves to training and to other programs together."""
        return self.inner.room_bytes(clients + self.client)

    def estimate(self, clients: Ints, round_index: int | Ints, time_s: float | Floats) -> WorkEstimate:
        """The client's training, without transfers; it runs all along."""
        nothing, at_once = np.zeros(clients.size), np.full(clients.size, np.inf)
        return replace(
            self.inner.estimate(clients + self.client, round_index, time_s),
            client=clients,
            download_bytes=nothing,
            upload_bytes=nothing,
            down_bytes_per_s=at_once,
            up_bytes_per_s=at_once,
            latency_s=nothing,
            startup_s=nothing,
        )

    def oom_from_s(self, estimate: WorkEstimate, start_s: Floats, end_s: Floats) -> Floats:
        """The first instant in [start_s, end_s) at which memory is short; ``inf`` if there is none."""
        return self.inner.oom_from_s(replace(estimate, client=estimate.client + self.client), start_s, end_s)
