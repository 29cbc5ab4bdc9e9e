"""Selection and completion, policy by policy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from small_world import Client, SmallBattery, SmallWorld

from fedsim import checks
from fedsim.engine.availability_cache import AvailabilityCache
from fedsim.engine.completion import Buffered, Deadline, Quorum
from fedsim.engine.plan import Plan
from fedsim.engine.selection import FastestFirst, MemoryAware, Oort, Random, RoundRobin, SelectionRequest
from fedsim.engine.server import Simulation, simulate
from fedsim.errors import InputError

NOBODY = np.zeros(0, dtype=np.int64)


class Crowd:
    """A large fleet: multiples of ``away`` never online, of ``poor`` short of memory."""

    def __init__(self, clients, away=0, poor=0):
        self.clients, self.away, self.poor, self.asked = clients, away, poor, 0
        self.small = SmallWorld([Client()])

    def offline_from_s(self, clients, time_s):
        self.asked += clients.size
        gone = clients % self.away == 0 if self.away else np.zeros(clients.size, bool)
        return np.where(gone, time_s, np.inf)

    def next_online_s(self, time_s):
        return time_s

    def estimate(self, clients, round_index, time_s):
        estimate = self.small.estimate(np.zeros(clients.size, dtype=np.int64), 0, time_s)
        estimate.client[:] = clients
        estimate.compute_s[:] = 1.0 / (1.0 + clients)
        if self.poor:
            estimate.available_bytes[:] = np.where(clients % self.poor == 0, 0.5, 2.0)
        return estimate

    def oom_from_s(self, estimate, start_s, end_s):
        return np.where(
            (estimate.footprint_bytes > estimate.available_bytes) & (start_s < end_s), start_s, np.inf
        )


def chooser(policy, world, seed=1):
    return policy.begin(world, AvailabilityCache(world), seed)


def request(number, count, busy=NOBODY, time_s=0.0):
    return SelectionRequest(number, number, time_s, count, busy)


@pytest.mark.parametrize(("fleet", "count"), [(50, 10), (5000, 40), (5000, 4000)])
def test_random_is_uniform_over_who_is_online_and_free(fleet, count):
    world = Crowd(fleet, away=5)
    select, busy = chooser(Random(), world), np.arange(1, fleet, 10)
    times = np.zeros(fleet)
    rounds = 60_000 // count
    for number in range(rounds):
        chosen = select.choose(request(number, count, busy))
        assert len(set(chosen.tolist())) == chosen.size
        times[chosen] += 1
    free = np.ones(fleet, bool)
    free[::5] = free[busy] = False
    assert not times[~free].any()
    taken = min(count, int(free.sum()))
    share = taken / free.sum()
    spread = np.sqrt(rounds * share * (1 - share))
    assert (np.abs(times[free] - rounds * share) <= 6 * spread + 1e-9).all()
    assert times[free].var() == pytest.approx(spread**2, rel=0.35) or spread == 0


def test_random_does_not_look_at_the_whole_fleet():
    world = Crowd(1_000_000, away=2)
    chooser(Random(), world).choose(request(3, 100))
    assert world.asked < 600


def test_random_by_turn_not_by_history():
    world = Crowd(10_000, away=3)
    alone = chooser(Random(), world).choose(request(7, 50))
    after = chooser(Random(), world)
    for number in range(7):
        after.choose(request(number, 50))
    assert after.choose(request(7, 50)).tolist() == alone.tolist()
    assert chooser(Random(), world, seed=2).choose(request(7, 50)).tolist() != alone.tolist()


def test_random_takes_everyone_if_there_are_too_few():
    world = Crowd(1000, away=2)
    chosen = chooser(Random(), world).choose(request(0, 800))
    assert sorted(chosen.tolist()) == list(range(1, 1000, 2))
    assert chooser(Random(), Crowd(1000, away=1)).choose(request(0, 3)).size == 0


def test_round_robin_goes_on_where_it_stopped():
    world = Crowd(10, away=4)
    select = chooser(RoundRobin(), world)
    assert select.choose(request(0, 3)).tolist() == [1, 2, 3]
    assert select.choose(request(1, 3)).tolist() == [5, 6, 7]
    assert select.choose(request(2, 4, np.array([2]))).tolist() == [9, 1, 3, 5]
    assert select.choose(request(3, 99)).tolist() == [6, 7, 9, 1, 2, 3, 5]
    assert select.state() == {"next": 6}


def test_fastest_first_takes_the_fastest_of_its_pool():
    small = Crowd(30)
    assert chooser(FastestFirst(pool=10), small).choose(request(0, 3)).tolist() == [29, 28, 27]
    large = Crowd(100_000)
    pool = set(chooser(FastestFirst(pool=1), large).choose(request(5, 500)).tolist())
    chosen = chooser(FastestFirst(pool=5), large).choose(request(5, 100)).tolist()
    assert set(chosen) <= pool
    assert chosen == sorted(pool, reverse=True)[:100]


def test_memory_aware_passes_over_who_would_run_out():
    world = Crowd(1000, poor=2)
    chosen = chooser(MemoryAware(), world).choose(request(0, 100))
    assert chosen.size == 100
    assert (chosen % 2 == 1).all()
    assert sorted(chooser(MemoryAware(), world).choose(request(0, 900)).tolist()) == list(range(1, 1000, 2))


def test_memory_aware_that_finds_nobody_gives_up_with_a_reason():
    world = SmallWorld([Client(available=0.5), Client(available=0.5)])
    for close in (Deadline(60.0), Buffered(2)):
        ending = simulate(world, Plan(2, 2, MemoryAware(), close))
        assert ending.rounds_done == 0
        assert ending.reason == "for 30 days the selection has found no client that will do"
        assert 30 * 86_400 <= ending.end_s < 32 * 86_400


def test_memory_aware_waits_until_memory_is_free():
    world = SmallWorld([Client(available=0.5), Client()])
    records = list(Simulation(world, Plan(2, 2, MemoryAware())))
    assert [r.clients.client.tolist() for r in records] == [[1], [1]]


class Teacher:
    """Losses by client: the higher the number the more there is to learn."""

    def train(self, round_index, clients, base_round, technique):
        class Verdict:
            loss = 1.0 + clients
            weight = np.full(clients.size, 1 / clients.size)
            accepted = np.ones(clients.size, bool)
            metrics = ()
            examples = np.ones(clients.size)

        return Verdict


def test_oort_first_explores_and_then_prefers_what_helps_and_is_fast():
    slow = dict.fromkeys(range(30, 40), 400.0)
    world = SmallWorld([Client(compute=slow.get(k, 10.0)) for k in range(40)])
    policy = Oort(explore=0.9, explore_decay=0.5, most_rounds=1000, percentile=50.0)
    simulation = Simulation(world, Plan(60, 10, policy, seed=3), Teacher())
    records = list(simulation)
    assert len(set(np.concatenate([r.clients.client for r in records[:8]]).tolist())) > 20
    times = np.bincount(np.concatenate([r.clients.client for r in records[30:]]), minlength=40)
    assert times[20:30].sum() > 2 * times[:10].sum()  # helps more, as fast
    assert times[20:30].sum() > 4 * times[30:].sum()  # helps less, but far faster


def test_oort_gives_others_a_turn_after_many_rounds():
    world = SmallWorld([Client() for _ in range(12)])
    records = list(Simulation(world, Plan(40, 4, Oort(most_rounds=5), seed=1), Teacher()))
    assert all(len(r.clients) == 4 for r in records)
    times = np.bincount(np.concatenate([r.clients.client for r in records]), minlength=12)
    assert times.min() >= 5


def test_quorum_by_hand():
    # Three wanted, four asked; done at 1, 2, 3 and 9: the round ends at 3 and the last is late.
    world = SmallWorld([Client(compute=c) for c in (1.0, 2.0, 3.0, 9.0)])
    records = list(Simulation(world, Plan(1, 3, RoundRobin(), Quorum(1 / 3))))
    rows = records[0].clients
    assert records[0].end_s == 3.0
    assert rows.outcome_names() == ["completed"] * 3 + ["late"]
    assert rows.compute_s.tolist() == [1.0, 2.0, 3.0, 3.0]
    assert rows.energy_j.tolist() == [10.0, 20.0, 30.0, 30.0]


def test_a_quorum_that_cannot_be_met_ends_with_the_last_or_at_its_limit():
    members = [
        Client(compute=1.0),
        Client(compute=5.0, available=0.5),
        Client(compute=8.0, away=[(6.0, 7.0)]),
    ]
    records = list(Simulation(SmallWorld(members), Plan(1, 2, RoundRobin(), Quorum(0.5))))
    assert records[0].end_s == 6.0
    assert records[0].clients.outcome_names() == ["completed", "oom", "offline"]
    records = list(Simulation(SmallWorld(members), Plan(1, 2, RoundRobin(), Quorum(0.5, 4.0))))
    assert records[0].end_s == 4.0
    assert records[0].clients.outcome_names() == ["completed", "oom", "late"]


def test_a_quorum_asks_for_so_many_more():
    assert [Quorum(0.3).invited(n) for n in (1, 10, 20, 100)] == [2, 13, 26, 130]
    assert Quorum(0.0).invited(7) == 7


def test_batteries_by_hand():
    # 100 bytes each way at 10 per s, training 10 s: 3 W for 10 s, 10 W for 10 s, 3 W for 10 s: 160 J.
    capacity, floor = np.full(5, 1000.0), np.full(5, 100.0)
    initial = np.array([1000.0, 300.0, 220.0, 245.0, 150.0])
    world = SmallWorld(
        [Client(down=10.0, up=10.0) for _ in range(5)],
        battery=SmallBattery(capacity, floor, initial, np.zeros(5)),
    )
    simulation = Simulation(world, Plan(2, 5, RoundRobin()))
    records = list(simulation)
    rows = records[0].clients
    assert rows.outcome_names() == ["completed", "completed", "battery", "battery", "battery"]
    # 220 - 30 J leave 90 J over the floor: 9 s of training. 245: 15 J of upload, 5 s. 150 < 200 refuses.
    assert rows.ended_s.tolist() == [30.0, 30.0, 19.0, 25.0, 0.0]
    assert rows.compute_s.tolist() == [10.0, 10.0, 9.0, 10.0, 0.0]
    assert rows.uploaded_bytes.tolist() == [100.0, 100.0, 0.0, 50.0, 0.0]
    assert rows.energy_j.tolist() == [160.0, 160.0, 120.0, 145.0, 0.0]
    # A second time, 840 J and 140 J: the second refuses, and so do those at their floor.
    rows = records[1].clients
    assert rows.outcome_names() == ["completed"] + ["battery"] * 4
    battery_state = simulation.state()["battery_state"]
    assert battery_state["charge_j"] == pytest.approx([680.0, 140.0, 100.0, 100.0, 150.0])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Plan(-1, 1),
        lambda: Plan(1, 0),
        lambda: Plan(1, 1, server_up_bytes_per_s=0.0),
    ],
)
def test_a_plan_that_cannot_be_is_refused(make):
    with pytest.raises(ValueError):
        make()


@pytest.mark.parametrize(
    ("policy", "options", "sentence"),
    [
        (Deadline, {"after": 0}, "after: 0 is not above zero"),
        (Deadline, {"after": math.nan}, "after: nan is not"),
        (Deadline, {}, "after: is missing and has no default (how long a round may take)"),
        (Quorum, {"over": -0.1}, "over: -0.1 is not at least 0"),
        (Buffered, {"buffer": 0}, "buffer: 0 is not at least 1"),
        (Buffered, {"buffer": 1, "concurrency": 0}, "concurrency: 0 is not at least 1"),
        (FastestFirst, {"pool": 0}, "pool: 0 is not at least 1"),
        (Oort, {"explore": 1.5}, "explore: 1.5 is not at most 1"),
    ],
)
def test_options_that_cannot_be_are_refused(policy, options, sentence):
    with pytest.raises(InputError) as fault:
        checks.check(policy, options)
    assert str(fault.value).startswith(sentence)
