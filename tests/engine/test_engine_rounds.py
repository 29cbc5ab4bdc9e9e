"""Hand-derived rounds: each number below can be worked out on paper."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from small_world import Client, SmallBattery, SmallWorld

from fedsim.engine.completion import Deadline
from fedsim.engine.plan import Plan
from fedsim.engine.server import Simulation, simulate


def run(world, plan, learner=None):
    records = []
    ending = simulate(world, plan, learner, records.append)
    return records, ending


def test_equal_clients_finish_at_exactly_download_plus_compute_plus_upload():
    download, compute, upload = 0.03 + 100 / 7.0, 12.34567, 0.03 + 100 / 3.0
    world = SmallWorld([Client(down=7.0, up=3.0, latency=0.03, compute=compute) for _ in range(8)])
    records, ending = run(world, Plan(rounds=3, cohort=8))
    assert records[0].end_s == download + compute + upload
    for record in records:
        assert record.end_s == record.start_s + ((download + compute) + upload)
        assert record.clients.outcome_names() == ["completed"] * 8
        assert (record.clients.download_s == download).all()
        assert (record.clients.compute_s == compute).all()
        assert (record.clients.upload_s == upload).all()
    assert ending.reason == "all rounds done"
    assert ending.end_s == records[-1].end_s


def test_a_round_with_every_kind_of_fate():
    # 100 bytes: down 10 s, training 10 s, up 20 s: complete at 40 s.
    same = {"down": 10.0, "up": 5.0}
    world = SmallWorld(
        [
            Client(**same),
            Client(**same, compute=100.0),  # trains from 10 on, late at 50
            Client(**same, short=[(12.0, 13.0)]),  # memory short at 12
            Client(**same, away=[(25.0, 30.0)]),  # gone at 25, 5 s into its upload
            Client(**same, crashes=[4.0]),  # dies in its download
            Client(**same, short=[(0.0, 10.0), (20.0, 99.0)]),  # short only when it is not training
            Client(down=math.inf, up=math.inf),  # complete at 10
        ]
    )
    records, _ = run(world, Plan(rounds=1, cohort=7, close=Deadline(50.0)))
    rows = records[0].clients.take(np.argsort(records[0].clients.client))
    assert rows.outcome_names() == ["completed", "late", "oom", "offline", "failed", "completed", "completed"]
    assert rows.ended_s.tolist() == [40.0, 50.0, 12.0, 25.0, 4.0, 40.0, 10.0]
    assert rows.download_s.tolist() == [10.0, 10.0, 10.0, 10.0, 4.0, 10.0, 0.0]
    assert rows.compute_s.tolist() == [10.0, 40.0, 2.0, 10.0, 0.0, 10.0, 10.0]
    assert rows.upload_s.tolist() == [20.0, 0.0, 0.0, 5.0, 0.0, 20.0, 0.0]
    assert rows.downloaded_bytes.tolist() == [100.0, 100.0, 100.0, 100.0, 40.0, 100.0, 100.0]
    assert rows.uploaded_bytes.tolist() == [100.0, 0.0, 0.0, 25.0, 0.0, 100.0, 100.0]
    # 3 W while transferring, 10 W while training
    assert rows.energy_j.tolist() == [190.0, 430.0, 50.0, 145.0, 12.0, 190.0, 100.0]
    record = records[0]
    assert (record.start_s, record.end_s) == (0.0, 50.0)
    assert record.counts() == {
        "completed": 3,
        "late": 1,
        "oom": 1,
        "offline": 1,
        "battery": 0,
        "rejected": 0,
        "failed": 1,
    }
    assert record.energy_j == 1117.0
    assert record.wasted_j == 430.0 + 50.0 + 145.0 + 12.0
    assert record.wasted_s == 50.0 + 12.0 + 25.0 + 4.0


def test_a_start_by_hand():
    # 100 bytes: down 10 s, startup 4 s, training 10 s, up 20 s: complete at 44 s.
    same = {"down": 10.0, "up": 5.0, "startup": 4.0}
    world = SmallWorld(
        [
            Client(**same),
            Client(**same, compute=100.0),  # trains from 14 on, late at 50
            Client(**same, short=[(11.0, 12.0), (16.0, 17.0)]),  # memory short at 16, not while it starts
            Client(**same, short=[(11.0, 15.0)]),  # short as its training begins, at 14
            Client(**same, away=[(13.0, 30.0)]),  # gone at 13, 3 s into its start
            Client(**same, crashes=[18.0]),  # dies 4 s into its training
            Client(startup=60.0),  # still starting at 50
        ]
    )
    records, _ = run(world, Plan(rounds=1, cohort=7, close=Deadline(50.0)))
    rows = records[0].clients.take(np.argsort(records[0].clients.client))
    assert rows.outcome_names() == ["completed", "late", "oom", "oom", "offline", "failed", "late"]
    assert rows.ended_s.tolist() == [44.0, 50.0, 16.0, 14.0, 13.0, 18.0, 50.0]
    assert rows.startup_s.tolist() == [4.0, 4.0, 4.0, 4.0, 3.0, 4.0, 50.0]
    assert rows.compute_s.tolist() == [10.0, 36.0, 2.0, 0.0, 0.0, 4.0, 0.0]
    # 3 W while transferring, 10 W while starting and training
    assert rows.energy_j.tolist() == [230.0, 430.0, 90.0, 70.0, 60.0, 110.0, 500.0]
    assert records[0].wasted_s == 50.0 + 16.0 + 14.0 + 13.0 + 18.0 + 50.0


def test_a_start_drains_the_battery_like_training():
    # 100 J above the floor at 10 W: empty 10 s after the start begins, at once after the download.
    battery = SmallBattery([1000.0], [0.0], [100.0], [0.0])
    world = SmallWorld([Client(startup=4.0, compute=20.0)], battery=battery)
    rows = run(world, Plan(rounds=1, cohort=1))[0][0].clients
    assert rows.outcome_names() == ["battery"]
    assert (rows.startup_s[0], rows.compute_s[0], rows.ended_s[0]) == (4.0, 6.0, 10.0)


def test_a_deadline_counts_an_update_that_is_complete_at_that_instant():
    world = SmallWorld([Client(compute=30.0), Client(compute=30.000001)])
    records, _ = run(world, Plan(rounds=1, cohort=2, close=Deadline(30.0)))
    rows = records[0].clients.take(np.argsort(records[0].clients.client))
    assert rows.outcome_names() == ["completed", "late"]


def test_a_deadline_round_ends_when_everyone_has_ended():
    world = SmallWorld([Client(compute=3.0), Client(compute=4.0)])
    records, _ = run(world, Plan(rounds=2, cohort=2, close=Deadline(1000.0)))
    assert [r.end_s for r in records] == [4.0, 8.0]


def test_the_servers_link_is_shared_by_downloads_and_by_uploads():
    # 4 x 100 bytes over 20 bytes/s down: 20 s each. Training 10 s. Then up over 10 bytes/s: 40 s.
    world = SmallWorld([Client(down=50.0, up=50.0) for _ in range(4)])
    plan = Plan(rounds=1, cohort=4, server_down_bytes_per_s=20.0, server_up_bytes_per_s=10.0)
    records, _ = run(world, plan)
    assert records[0].end_s == pytest.approx(70.0)
    assert records[0].clients.download_s == pytest.approx([20.0] * 4)
    assert records[0].clients.upload_s == pytest.approx([40.0] * 4)


def test_nobody_online_moves_the_clock_to_the_next_who_is():
    world = SmallWorld([Client(away=[(0.0, 500.0)]), Client(away=[(0.0, 700.0)])])
    records, _ = run(world, Plan(rounds=2, cohort=2))
    assert [(r.start_s, r.end_s) for r in records] == [(500.0, 510.0), (510.0, 520.0)]
    assert [r.clients.client.tolist() for r in records] == [[0], [0]]


def test_a_fleet_that_is_never_online_ends_with_a_reason():
    world = SmallWorld([Client(away=[(0.0, math.inf)])])
    records, ending = run(world, Plan(rounds=2, cohort=1))
    assert records == []
    assert ending.rounds_done == 0
    assert ending.reason == "no client is online at 0 s, and none will be"


def test_a_fleet_that_is_gone_for_good_ends_after_the_rounds_it_could_do():
    world = SmallWorld([Client(away=[(25.0, math.inf)])])
    records, ending = run(world, Plan(rounds=9, cohort=1))
    assert [r.clients.outcome_names() for r in records] == [["completed"], ["completed"], ["offline"]]
    assert ending.rounds_done == 3
    assert "none will be" in ending.reason
    assert ending.end_s == 25.0


def test_an_update_no_link_can_carry_is_late_or_never_closes_the_round():
    world = SmallWorld([Client(up=0.0), Client()])
    records, _ = run(world, Plan(rounds=1, cohort=2, close=Deadline(60.0)))
    rows = records[0].clients.take(np.argsort(records[0].clients.client))
    assert rows.outcome_names() == ["late", "completed"]
    assert rows.uploaded_bytes.tolist() == [0.0, 100.0]
    records, ending = run(world, Plan(rounds=1, cohort=2))
    assert records == []
    assert ending.reason == "round 0 can never close: 1 of 2 clients would never end"


def test_a_cohort_larger_than_the_fleet_takes_everyone_online():
    world = SmallWorld([Client(), Client(), Client(away=[(0.0, 1e9)])])
    records, _ = run(world, Plan(rounds=1, cohort=50))
    assert sorted(records[0].clients.client.tolist()) == [0, 1]


@dataclass
class Verdict:
    loss: np.ndarray
    weight: np.ndarray
    accepted: np.ndarray
    metrics: list
    examples: np.ndarray


class Recorder:
    """A learner that rejects client 1 and notes what it was given."""

    def __init__(self):
        self.calls = []

    def train(self, round_index, clients, base_round, technique):
        self.calls.append((round_index, clients.tolist(), base_round.tolist(), technique.tolist()))
        accepted = clients != 1
        weight = accepted / max(accepted.sum(), 1)
        return Verdict(clients + 1.0, weight, accepted, [("loss", "validation", 0.5)], 10.0 * clients)


def test_the_learner_gets_the_completed_in_order_of_arrival():
    world = SmallWorld(
        [
            Client(compute=9.0, examples=5.0),
            Client(compute=7.0),
            Client(compute=9.0),
            Client(compute=8.0),
            Client(compute=1.0, available=0.5),
        ]
    )
    learner = Recorder()
    records, _ = run(world, Plan(rounds=1, cohort=5), learner)
    assert learner.calls == [(0, [1, 3, 0, 2], [0, 0, 0, 0], [1, 0, 0, 2])]  # in a small world, client % 3
    rows = records[0].clients.take(np.argsort(records[0].clients.client))
    assert rows.outcome_names() == ["completed", "rejected", "completed", "completed", "oom"]
    assert rows.weight == pytest.approx([1 / 3, 0.0, 1 / 3, 1 / 3, 0.0])
    assert rows.loss[:4].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert rows.examples.tolist() == [0.0, 10.0, 20.0, 30.0, 1.0]  # the learner's, of those it was given
    assert math.isnan(rows.loss[4])
    assert records[0].loss == pytest.approx((1 + 3 + 4) / 3)
    assert records[0].metrics == [("loss", "validation", 0.5)]


def test_a_round_in_which_nobody_completes_is_recorded_and_may_be_evaluated():
    world = SmallWorld([Client(available=0.5), Client(available=0.5)])
    learner = Recorder()
    records, ending = run(world, Plan(rounds=2, cohort=2), learner)
    assert learner.calls == [(0, [], [], []), (1, [], [], [])]
    assert [r.metrics for r in records] == [[("loss", "validation", 0.5)]] * 2
    assert [r.counts()["oom"] for r in records] == [2, 2]
    assert [r.clients.weight.tolist() for r in records] == [[0.0, 0.0]] * 2
    assert [math.isnan(r.loss) for r in records] == [True, True]
    assert ending.rounds_done == 2


def test_times_do_not_depend_on_the_learner():
    world = SmallWorld([Client(compute=float(3 + i % 4), crashes=[7.0 + 20 * i]) for i in range(12)])
    plan = Plan(rounds=6, cohort=4, close=Deadline(6.0), seed=3)
    alone, _ = run(world, plan)
    taught, _ = run(world, plan, Recorder())
    for a, b in zip(alone, taught, strict=True):
        assert (a.start_s, a.end_s) == (b.start_s, b.end_s)
        assert a.clients.client.tolist() == b.clients.client.tolist()
        assert a.clients.ended_s.tolist() == b.clients.ended_s.tolist()


def test_a_simulation_goes_on_from_its_state_as_if_it_had_never_stopped():
    world = SmallWorld([Client(compute=float(3 + i % 4), away=[(20.0 * i, 20.0 * i + 9)]) for i in range(12)])
    plan = Plan(rounds=8, cohort=4, seed=5)
    whole, ending = run(world, plan)
    for stop in range(1, 8):
        first = Simulation(world, plan)
        steps = iter(first)
        for _ in range(stop):
            next(steps)
        rest = Simulation(world, plan, state=first.state())
        records = list(rest)
        assert [r.index for r in records] == list(range(stop, 8))
        for a, b in zip(whole[stop:], records, strict=True):
            assert (a.start_s, a.end_s) == (b.start_s, b.end_s)
            assert a.clients.client.tolist() == b.clients.client.tolist()
            assert a.clients.ended_s.tolist() == b.clients.ended_s.tolist()
        assert rest.ending == ending
