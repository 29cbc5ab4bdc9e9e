"""The engine against a naive one, on random small worlds, for every policy."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from naive import Naive
from naive_parts import INSTANT_S
from small_world import Client, SmallBattery, SmallWorld

from fedsim.engine import asynchronous
from fedsim.engine.completion import Buffered, Deadline, Quorum, WaitAll
from fedsim.engine.plan import Plan
from fedsim.engine.records import COMPLETED, LATE, ClientRounds
from fedsim.engine.selection import FastestFirst, MemoryAware, Oort, Random, RoundRobin
from fedsim.engine.server import Simulation
from fedsim.outcomes import OUTCOMES

COLUMNS = (
    "dispatched_s",
    "download_s",
    "startup_s",
    "compute_s",
    "upload_s",
    "ended_s",
    "downloaded_bytes",
    "uploaded_bytes",
    "energy_j",
    "base_round",
    "technique",
)


def spans(draw, count, gap, length):
    """Spans at random, none of them touching."""
    edges = np.cumsum(draw.exponential(np.tile([gap, length], count)))
    return list(zip(edges[::2], edges[1::2], strict=True))


def random_world(seed, batteries, uneven=0.3, starts=False):
    """Clients whose times are all continuous draws, so that two events rarely fall on one instant.

    Where rounds are alike they may: the same rounds one after another, in whatever order, take the same.
    """
    draw = np.random.default_rng(seed)
    count = int(draw.integers(3, 14))
    clients = [
        Client(
            down=draw.lognormal(2.5, 0.8),
            up=draw.lognormal(2.0, 0.8),
            latency=draw.uniform(0.01, 2.0),
            startup=draw.lognormal(1.0, 0.7) if starts else 0.0,
            compute=draw.lognormal(2.5, 0.7),
            footprint=1.0,
            available=0.5 if draw.random() < 0.08 else 2.0,
            examples=float(draw.integers(1, 9)),
            idle_w=draw.uniform(1, 3),
            compute_w=draw.uniform(5, 15),
            radio_w=draw.uniform(0.5, 2),
            away=spans(draw, 12, 80.0, 25.0) if draw.random() < 0.6 else [],
            short=spans(draw, 12, 90.0, 5.0) if draw.random() < 0.4 else [],
            uneven=uneven,
            crashes=sorted(draw.uniform(0, 900, 4)) if draw.random() < 0.3 else [],
        )
        for _ in range(count)
    ]
    if not batteries:
        return SmallWorld(clients)
    capacity = draw.uniform(500, 1500, count)
    floor = draw.uniform(0.05, 0.3, count) * capacity
    initial = floor + draw.uniform(-0.1, 1.0, count) * (capacity - floor)
    return SmallWorld(clients, battery=SmallBattery(capacity, floor, initial, draw.uniform(0, 6, count)))


SELECTIONS = [Random(), RoundRobin(), FastestFirst(2), MemoryAware(), Oort()]
COMPLETIONS = [
    WaitAll(),
    Deadline(35.0),
    Quorum(0.5),
    Quorum(0.5, 45.0),
    Buffered(1),
    Buffered(3),
    Buffered(2, concurrency=5),
]


@pytest.fixture(autouse=True, scope="module")
def impatient():
    """Worlds here last for minutes: a server that has waited in vain for one hour gives up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asynchronous, "FUTILE_S", 3600.0)
        yield


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    select=st.sampled_from(SELECTIONS),
    close=st.sampled_from(COMPLETIONS),
    cohort=st.integers(1, 6),
    rates=st.sampled_from([(np.inf, np.inf), (25.0, np.inf), (np.inf, 9.0), (30.0, 14.0)]),
    batteries=st.booleans(),
    uneven=st.sampled_from([0.0, 0.3]),
    starts=st.booleans(),
)
@example(
    42555, MemoryAware(), Buffered(3), 3, (np.inf, np.inf), False, 0.0, False
)  # two updates at 151.289 s
def test_the_naive_engine_gives_the_same_outcomes_and_times(
    seed, select, close, cohort, rates, batteries, uneven, starts
):
    compare(random_world(seed, batteries, uneven, starts), Plan(6, cohort, select, close, *rates, seed=seed))


def learn(selector, rows):
    """Tell the naive engine's selector what the real one is told."""
    selector.learn(
        ClientRounds(
            **{
                field.name: np.array([row.get(field.name, np.nan) for row in rows])
                for field in fields(ClientRounds)
                if field.name != "outcome"
            },
            outcome=np.array([OUTCOMES.index(row["outcome"]) for row in rows], dtype=np.int8),
        )
    )


def tie_s(records):
    """The first instant at which an update comes and another client's work ends; the naive engine's limit.

    The order of two ends that are a rounding apart is not the same in both engines.
    """
    rows = ClientRounds.join([ClientRounds.none(), *(record.clients for record in records)])
    rows = rows.take((rows.ended_s > rows.dispatched_s) & (rows.outcome != LATE))
    rows = rows.take(np.argsort(rows.ended_s))
    update = rows.outcome == COMPLETED
    tied = (np.diff(rows.ended_s) <= INSTANT_S) & (update[1:] | update[:-1])
    return min(rows.ended_s[1:][tied], default=np.inf) - INSTANT_S


def compare(world, plan):
    simulation = Simulation(world, plan)
    records = list(simulation)
    naive = Naive(world, plan, learn)
    whole = [r for r in naive.rounds if r[2]]
    if simulation.ending.reason != "all rounds done" and isinstance(plan.close, Buffered):
        records = records[: len(whole)]  # the last, unfilled buffer is closed by the engine alone
    if isinstance(plan.close, Buffered) and (until_s := tie_s(records)) < np.inf:
        records = [record for record in records if record.end_s < until_s]
        whole = whole[: len(records)]
    assert len(records) == len(whole)
    for record, (start, end, rows) in zip(records, whole, strict=True):
        assert record.start_s == pytest.approx(start, rel=1e-9)
        assert record.end_s == pytest.approx(end, rel=1e-9)
        mine = record.clients.take(np.argsort(record.clients.client, kind="stable"))
        rows = sorted(rows, key=lambda row: (row["client"], row["ended_s"]))
        mine = mine.take(np.lexsort((mine.ended_s, mine.client)))
        assert mine.client.tolist() == [row["client"] for row in rows]
        assert mine.outcome_names() == [row["outcome"] for row in rows]
        for name in COLUMNS:
            assert getattr(mine, name) == pytest.approx([row[name] for row in rows], rel=1e-7, abs=1e-6), name
