"""What must hold in any world."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_world import SmallWorld
from test_engine_naive import COMPLETIONS, SELECTIONS, random_world

from fedsim.engine.completion import Buffered, Deadline, WaitAll
from fedsim.engine.plan import Plan
from fedsim.engine.records import ClientRounds
from fedsim.engine.selection import Random
from fedsim.engine.server import Simulation
from fedsim.outcomes import OUTCOMES

RATES = [(np.inf, np.inf), (25.0, np.inf), (30.0, 14.0)]
seeds = st.integers(0, 10**6)


@settings(max_examples=80, deadline=None)
@given(
    seed=seeds,
    select=st.sampled_from(SELECTIONS),
    close=st.sampled_from(COMPLETIONS),
    cohort=st.integers(1, 6),
    rates=st.sampled_from(RATES),
    batteries=st.booleans(),
)
def test_in_any_simulation(seed, select, close, cohort, rates, batteries):
    world = random_world(seed, batteries)
    plan = Plan(5, cohort, select, close, *rates, seed=seed)
    records = list(Simulation(world, plan))
    asynchronous = isinstance(close, Buffered)
    end = 0.0
    for index, record in enumerate(records):
        rows = record.clients
        # Time never goes back, and nobody ends outside their round.
        assert record.index == index
        assert end <= record.start_s <= record.end_s
        assert (rows.ended_s <= record.end_s).all()
        assert (rows.dispatched_s <= rows.ended_s).all()
        if asynchronous:
            assert (rows.ended_s >= record.start_s).all()
            assert (rows.base_round <= index).all()
        else:
            assert (rows.dispatched_s == record.start_s).all()
            assert (rows.base_round == index).all()
        assert (rows.round == index).all()
        end = record.end_s
        # Each has one outcome; its phases are what it lasted.
        counts = record.counts()
        assert sum(counts.values()) == len(rows) == record.selected
        assert set(counts) == set(OUTCOMES)
        lasted = rows.download_s + rows.startup_s + rows.compute_s + rows.upload_s
        assert lasted == pytest.approx(rows.ended_s - rows.dispatched_s, rel=1e-9, abs=1e-7)
        # Energy and bytes are of the phases, and add up.
        estimate = world.estimate(rows.client, rows.base_round, rows.dispatched_s)
        spent = (estimate.idle_w + estimate.radio_w) * (rows.download_s + rows.upload_s)
        assert rows.energy_j == pytest.approx(spent + estimate.compute_w * (rows.startup_s + rows.compute_s))
        assert record.energy_j == pytest.approx(rows.energy_j.sum())
        assert 0.0 <= record.wasted_j <= record.energy_j * (1 + 1e-12)
        assert (rows.downloaded_bytes <= estimate.download_bytes * (1 + 1e-12)).all()
        assert (rows.uploaded_bytes <= estimate.upload_bytes * (1 + 1e-12)).all()
        done = rows.outcome == OUTCOMES.index("completed")
        assert (rows.downloaded_bytes == estimate.download_bytes)[done].all()
        assert (rows.uploaded_bytes == estimate.upload_bytes)[done].all()
        assert (rows.uploaded_bytes[rows.upload_s == 0.0] == 0.0).all()
        # Nobody carries more than the link, on average over the time they took.
        assert record.downloaded_bytes <= rates[0] * max(record.end_s, 1e-9) * (1 + 1e-9)
    if not records:
        return
    rows = ClientRounds.join([record.clients for record in records])
    # No client is dispatched while offline, or twice at once.
    assert world.online(rows.client, rows.dispatched_s).all()
    rows = rows.take(np.lexsort((rows.ended_s, rows.dispatched_s, rows.client)))
    again = rows.client[1:] == rows.client[:-1]
    assert (rows.dispatched_s[1:] >= rows.ended_s[:-1])[again].all()


def constant_world(seed):
    """Nobody goes away, and memory is short for good or never."""
    world = random_world(seed, False)
    for member in world.members:
        member.away, member.short, member.crashes = [], [], []
    return world


@settings(max_examples=120, deadline=None)
@given(seed=seeds, which=st.sampled_from(["down", "up", "compute", "available"]), factor=st.floats(1.0, 20.0))
def test_better_hardware_never_makes_a_wait_all_round_longer(seed, which, factor):
    # The server's link is wide: where it is not, one client's faster link takes from the others.
    world = constant_world(seed)
    n = world.clients
    better = [
        replace(member, **{which: getattr(member, which) * (1 / factor if which == "compute" else factor)})
        if k % 2
        else member
        for k, member in enumerate(world.members)
    ]
    plan = Plan(1, n, Random(), WaitAll())
    before, after = (next(iter(Simulation(w, plan))) for w in (world, SmallWorld(better)))
    assert before.clients.client.tolist() == after.clients.client.tolist()
    fits = before.clients.outcome != OUTCOMES.index("oom")
    assert (after.clients.outcome[fits] == before.clients.outcome[fits]).all()
    if fits.all():  # a client that now fits, where it had died at once, does take its time
        assert after.end_s <= before.end_s * (1 + 1e-12)


@settings(max_examples=120, deadline=None)
@given(seed=seeds, first=st.floats(1.0, 120.0), longer=st.floats(0.0, 120.0), rates=st.sampled_from(RATES))
def test_a_longer_deadline_never_yields_fewer(seed, first, longer, rates):
    world = random_world(seed, False)
    done = []
    for after_s in (first, first + longer):
        plan = Plan(1, world.clients, Random(), Deadline(after_s), *rates, seed=seed)
        records = list(Simulation(world, plan))
        done.append({c for r in records for c in r.clients.client[r.clients.outcome == 0].tolist()})
    assert done[0] <= done[1]


@settings(max_examples=30, deadline=None)
@given(seed=seeds, select=st.sampled_from(SELECTIONS), close=st.sampled_from(COMPLETIONS))
def test_the_same_seed_gives_the_same_and_it_goes_on_from_any_state(seed, select, close):
    world = random_world(seed, True)
    plan = Plan(5, 4, select, close, 30.0, 14.0, seed=seed)
    simulation, states, whole = Simulation(world, plan), [], []
    for record in simulation:
        whole.append(record)
        states.append(simulation.state())
    for begin in range(len(whole)):
        rest = Simulation(world, plan, state=states[begin - 1] if begin else None)
        for mine, theirs in zip(rest, whole[begin:], strict=True):
            assert (mine.index, mine.start_s, mine.end_s) == (theirs.index, theirs.start_s, theirs.end_s)
            for name, column in mine.clients.arrays().items():
                assert np.array_equal(column, theirs.clients.arrays()[name], equal_nan=True)
        assert rest.ending == simulation.ending
