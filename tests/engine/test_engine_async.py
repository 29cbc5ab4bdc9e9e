"""Asynchronous rounds: hand-derived traces, many ends at a time, going on from a state."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import Naive
from small_world import Client, SmallBattery, SmallWorld
from test_engine_naive import compare, random_world

from fedsim.engine.completion import Buffered
from fedsim.engine.plan import Plan
from fedsim.engine.records import ClientRounds
from fedsim.engine.selection import MemoryAware, Random, RoundRobin
from fedsim.engine.selection.base import FEW
from fedsim.engine.server import Simulation, simulate


def same(one, other):
    """Records equal to the last bit."""
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert (a.index, a.start_s, a.end_s) == (b.index, b.start_s, b.end_s)
        for field in fields(ClientRounds):
            assert np.array_equal(
                getattr(a.clients, field.name), getattr(b.clients, field.name), equal_nan=True
            ), field.name


def large_world(seed, batteries=False, uneven=0.3):
    """More clients than are looked at as a whole, with everything that can happen."""
    worlds = [random_world(1000 * seed + k, False, uneven) for k in range(60)]
    members = [client for world in worlds for client in world.members][: FEW + 60]
    assert len(members) > FEW
    if not batteries:
        return SmallWorld(members)
    draw = np.random.default_rng(seed)
    capacity = draw.uniform(500, 1500, len(members))
    initial = draw.uniform(0.1, 1.0, len(members)) * capacity
    return SmallWorld(
        members, battery=SmallBattery(capacity, 0.2 * capacity, initial, draw.uniform(1, 6, len(members)))
    )


def test_a_buffer_by_hand():
    # Two at work, training 3, 5 and 4 s, nothing else. 0 and 1 start; 0 ends at 3 and 2 starts with
    # model 0; 1 ends at 5: two updates, round 0 closes; 0 starts with model 1 and ends at 8; 2 has
    # ended at 7 and 1 started; 8 closes round 1.
    world = SmallWorld([Client(compute=3.0), Client(compute=5.0), Client(compute=4.0)])
    plan = Plan(2, 2, RoundRobin(), Buffered(2))
    records = []
    ending = simulate(world, plan, observe=records.append)
    assert [(r.start_s, r.end_s) for r in records] == [(0.0, 5.0), (5.0, 8.0)]
    first, second = (r.clients for r in records)
    assert first.client.tolist() == [0, 1]
    assert first.base_round.tolist() == [0, 0]
    assert second.client.tolist() == [2, 0, 1]
    assert second.dispatched_s.tolist() == [3.0, 5.0, 7.0]
    assert second.base_round.tolist() == [0, 1, 1]
    assert second.outcome_names() == ["completed", "completed", "late"]
    assert second.ended_s.tolist() == [7.0, 8.0, 8.0]
    assert second.compute_s.tolist() == [4.0, 3.0, 1.0]
    assert ending.end_s == 8.0
    assert ending.reason == "all rounds done"


@pytest.mark.parametrize("rate", [np.inf, 1e9])
def test_a_start_by_hand(rate):
    # As above with 1 s of starting each: 0 ends at 4, 1 at 6 and closes round 0, 2 has started at 4 and
    # ends at 9; 0 has started at 6 and closes round 1 at 10, when 1, started at 9, is just ready to train.
    world = SmallWorld([Client(compute=c, startup=1.0) for c in (3.0, 5.0, 4.0)], size=0.0)
    plan = Plan(2, 2, RoundRobin(), Buffered(2), rate, rate)
    records = []
    simulate(world, plan, observe=records.append)
    assert [(r.start_s, r.end_s) for r in records] == [(0.0, 6.0), (6.0, 10.0)]
    rows = records[1].clients
    assert rows.client.tolist() == [2, 0, 1]
    assert rows.outcome_names() == ["completed", "completed", "late"]
    assert rows.startup_s.tolist() == [1.0, 1.0, 1.0]
    assert rows.compute_s.tolist() == [4.0, 3.0, 0.0]
    assert rows.energy_j.tolist() == [50.0, 40.0, 10.0]


@pytest.mark.parametrize("rate", [np.inf, 1e9])
def test_a_start_is_between_download_and_training(rate):
    # 100 bytes at 10 a second each way, alone: 10 + 4 + 7 + 10 s; memory is short only while it starts.
    world = SmallWorld([Client(down=10.0, up=10.0, startup=4.0, compute=7.0, short=[(10.0, 14.0)])])
    records = []
    simulate(world, Plan(1, 1, RoundRobin(), Buffered(1), rate, rate), observe=records.append)
    rows = records[0].clients
    assert rows.outcome_names() == ["completed"]
    phases = (rows.download_s, rows.startup_s, rows.compute_s, rows.upload_s)
    assert [phase[0] for phase in phases] == [10.0, 4.0, 7.0, 10.0]
    assert rows.ended_s.tolist() == [31.0]
    # gone 3 s into its start, and short 2 s into its training
    for trouble, why, start_s, compute_s in (
        ({"away": [(13.0, 99.0)]}, "offline", 3.0, 0.0),
        ({"short": [(16.0, 99.0)]}, "oom", 4.0, 2.0),
        ({"crashes": [14.0]}, "failed", 4.0, 0.0),
    ):
        one = Client(down=10.0, up=10.0, startup=4.0, compute=7.0, **trouble)
        plan = Plan(1, 2, RoundRobin(), Buffered(1), rate, rate)
        records = []
        simulate(SmallWorld([one, Client(compute=90.0)]), plan, observe=records.append)
        rows = records[0].clients
        rows = rows.take(np.flatnonzero(rows.client == 0)[:1])
        assert rows.outcome_names() == [why]
        assert (rows.startup_s[0], rows.compute_s[0]) == (start_s, compute_s)


def test_the_learner_is_told_how_old_each_update_is():
    class Learner:
        def __init__(self):
            self.calls = []

        def train(self, round_index, clients, base_round, technique):
            self.calls.append((round_index, clients.tolist(), base_round.tolist()))
            n = len(clients)
            return type(
                "V",
                (),
                {
                    "loss": np.ones(n),
                    "weight": np.ones(n) / n,
                    "accepted": np.ones(n, bool),
                    "metrics": [],
                    "examples": np.ones(n),
                },
            )()

    world = SmallWorld([Client(compute=3.0), Client(compute=5.0), Client(compute=4.0)])
    learner = Learner()
    simulate(world, Plan(2, 2, RoundRobin(), Buffered(2)), learner)
    assert learner.calls == [(0, [0, 1], [0, 0]), (1, [2, 0], [0, 1])]


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10**4),
    size=st.integers(1, 30),
    places=st.integers(20, 150),
    select=st.sampled_from([Random(), MemoryAware()]),
    batteries=st.booleans(),
    uneven=st.sampled_from([0.0, 0.3]),
)
def test_many_ends_at_a_time_are_as_one_by_one(seed, size, places, select, batteries, uneven):
    world = large_world(seed, batteries, uneven)
    plan = Plan(12, places, select, Buffered(size), seed=seed)
    quick = Simulation(world, plan)
    one_by_one = Simulation(world, plan)
    one_by_one._process.windows = None
    same(list(quick), list(one_by_one))
    assert quick.ending == one_by_one.ending


def test_windows_are_really_used():
    world = large_world(5)
    quick = Simulation(world, Plan(10, 100, Random(), Buffered(40), seed=5))
    rows = sum(len(r.clients) for r in quick)
    assert quick._process.windows.worked_through > 0.5 * rows


@settings(max_examples=6, deadline=None)
@given(
    seed=st.integers(0, 10**4),
    rates=st.sampled_from([(np.inf, np.inf), (400.0, 300.0)]),
    batteries=st.booleans(),
    uneven=st.sampled_from([0.0, 0.3]),
    concurrency=st.sampled_from([None, 35, 110]),
)
def test_a_large_world_is_as_in_the_naive_engine(seed, rates, batteries, uneven, concurrency):
    plan = Plan(5, 60, Random(), Buffered(20, concurrency), *rates, seed=seed)
    compare(large_world(seed, batteries, uneven), plan)


@pytest.mark.parametrize("rates", [(np.inf, np.inf), (400.0, np.inf), (300.0, 200.0)])
@pytest.mark.parametrize(("batteries", "uneven"), [(False, 0.0), (False, 0.3), (True, 0.0)])
def test_it_goes_on_from_its_state_as_if_it_had_never_stopped(rates, batteries, uneven):
    world = large_world(3, batteries, uneven)
    plan = Plan(15, 70, Random(), Buffered(25), *rates, seed=3)
    simulation, states, whole = Simulation(world, plan), [], []
    for record in simulation:
        whole.append(record)
        states.append(simulation.state())
    for stop in (1, 2, 3, 7, 14):
        rest = Simulation(world, plan, state=states[stop - 1])
        same(list(rest), whole[stop:])
        assert rest.ending == simulation.ending


@pytest.mark.parametrize("rate", [np.inf, 1e9])
def test_nobody_is_at_work_twice_and_places_are_never_exceeded(rate):
    world = large_world(8)
    plan = Plan(12, 80, Random(), Buffered(30), rate, rate, seed=8)
    rows = ClientRounds.join([r.clients for r in Simulation(world, plan)])
    assert world.online(rows.client, rows.dispatched_s).all()
    by_client = rows.take(np.lexsort((rows.dispatched_s, rows.client)))
    again = by_client.client[1:] == by_client.client[:-1]
    assert (by_client.dispatched_s[1:][again] >= by_client.ended_s[:-1][again]).all()
    time = np.concatenate([rows.ended_s, rows.dispatched_s])
    step = np.repeat([-1, 1], len(rows))
    assert np.cumsum(step[np.lexsort((step, time))]).max() == 80


def test_a_wide_link_that_is_shared_changes_nothing():
    world = large_world(4)
    plans = [Plan(8, 50, Random(), Buffered(20), rate, rate, seed=4) for rate in (np.inf, 1e9)]
    alone, shared = (list(Simulation(world, plan)) for plan in plans)
    assert len(alone) == len(shared)
    for a, b in zip(alone, shared, strict=True):
        assert a.end_s == pytest.approx(b.end_s, rel=1e-12)
        assert a.clients.client.tolist() == b.clients.client.tolist()
        assert a.clients.outcome.tolist() == b.clients.outcome.tolist()
        assert a.clients.energy_j == pytest.approx(b.clients.energy_j, rel=1e-9)


@pytest.mark.parametrize("rate", [np.inf, 50.0])
def test_a_fleet_that_never_completes_is_given_up(rate):
    world = SmallWorld([Client(available=0.5, down=0.1) for _ in range(5)])
    records = []
    ending = simulate(world, Plan(3, 4, Random(), Buffered(2), rate, rate), observe=records.append)
    assert "no update comes any more" in ending.reason
    assert ending.rounds_done == 1
    assert records[0].counts()["completed"] == 0
    assert records[0].counts()["oom"] >= 600
    assert ending.end_s >= 2 * 86_400.0


@pytest.mark.parametrize("rate", [np.inf, 50.0])
def test_clients_that_end_at_once_do_not_stop_the_clock(rate):
    # Out of memory at once until 5,000 s; the server asks again and again, but not for ever at one instant.
    world = SmallWorld([Client(short=[(0.0, 5000.0)]) for _ in range(5)])
    records = []
    ending = simulate(world, Plan(3, 4, Random(), Buffered(2), rate, rate), observe=records.append)
    assert ending.reason == "all rounds done"
    assert records[0].end_s > 5000.0
    assert records[0].counts()["oom"] > 4


@pytest.mark.parametrize("rate", [np.inf, 50.0])
def test_a_fleet_that_goes_away_closes_a_last_round_with_what_came(rate):
    world = SmallWorld([Client(down=20.0, up=20.0, compute=5.0, away=[(31.0, np.inf)]) for _ in range(3)])
    records = []
    plan = Plan(9, 2, Random(), Buffered(4), rate, rate)
    ending = simulate(world, plan, observe=records.append)
    assert "none will be" in ending.reason
    # 5 s each way and 5 s of training: two end at 15 and two at 30.
    assert [r.end_s for r in records] == [30.0, 31.0]
    assert records[0].counts()["completed"] == 4
    assert records[1].counts()["offline"] == 2
    assert ending.rounds_done == 2


@pytest.mark.parametrize("rate", [np.inf, 50.0])
def test_a_fleet_that_is_never_online_or_never_ends(rate):
    gone = SmallWorld([Client(away=[(0.0, np.inf)])])
    ending = simulate(gone, Plan(3, 2, Random(), Buffered(2), rate, rate))
    assert (ending.rounds_done, ending.reason) == (0, "no client is online at 0 s, and none will be")
    stuck = SmallWorld([Client(up=0.0), Client(up=0.0)])
    records = []
    ending = simulate(stuck, Plan(3, 2, Random(), Buffered(2), rate, rate), observe=records.append)
    assert ending.reason == "round 0 can never close: 2 clients at work would never end"
    assert records[0].clients.outcome_names() == ["late", "late"]


def test_too_few_online_are_asked_again_later():
    # Client 1 comes online at 100; asked at 0, then every 600 s, doubling only while nobody comes.
    world = SmallWorld([Client(compute=50.0), Client(compute=50.0, away=[(0.0, 100.0)])])
    records = list(Simulation(world, Plan(1, 2, RoundRobin(), Buffered(3))))
    rows = records[0].clients
    assert rows.client.tolist()[:3] == [0, 0, 1]
    assert rows.dispatched_s.tolist()[:3] == [0.0, 600.0, 600.0]


def test_the_naive_engine_agrees_on_a_shortage():
    world = SmallWorld(
        [Client(down=9.0 + k, up=5.0, compute=50.0 + k, away=[(0.0, 90.0 * k)]) for k in range(5)]
    )
    plan = Plan(3, 4, Random(), Buffered(3), seed=2)
    compare(world, plan)
    assert len(Naive(world, plan).rounds) == 3
