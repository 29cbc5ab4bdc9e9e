"""The fleet: shares, draws that never shift, answers over time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.errors import ScenarioError
from fedsim.fleet import Fleet, Group
from fedsim.fleet.apportion import apportion
from fedsim.fleet.availability import Always, Markov, Overnight
from fedsim.fleet.family import alone
from fedsim.fleet.hours import Hours
from fedsim.fleet.pressure import Burst, Constant, Programs, Routine, named
from fedsim.hardware import Link

HOUR = 3600.0
WIFI = Link("wifi", "Wi-Fi", 2021, 6e6, 2e6, 0.02, 0.5, 1.0, {}, "wifi.yaml")
FIXED = Link("fixed", "Ethernet", 2021, 1e8, 1e8, 0.001, 0.0, 1.0, {}, "fixed.yaml")

GROUPS = [
    Group("nx", 0.5, WIFI, speed_spread=0.2, memory_spread=0.1),
    Group("pi", 0.2, FIXED, Markov(5 * HOUR, 2 * HOUR), Constant(1e8), crash_per_s=1e-4),
    Group(
        "phone",
        0.3,
        WIFI,
        Overnight(),
        named("phone").load(),
        speed_spread=0.3,
        utc_offsets_s=(0.0, 3600.0, 7200.0),
    ),
]
ARRAYS = ("group", "speed", "system_factor", "down_bytes_per_s", "up_bytes_per_s", "utc_offset_s")


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(1, 1000), min_size=1, max_size=12), st.integers(1, 700))
def test_counts_follow_shares_to_within_one_for_every_beginning(parts, clients):
    shares = [p / sum(parts) for p in parts]
    sequence = apportion(shares, clients)
    counts = np.cumsum(sequence[:, None] == np.arange(len(parts)), axis=0)
    ideal = np.arange(1, clients + 1)[:, None] * np.array(shares)
    assert (np.abs(counts - ideal) < 1.0).all()


def test_the_sequence_by_hand():
    assert apportion([0.5, 0.5], 6).tolist() == [0, 1, 0, 1, 0, 1]
    assert np.bincount(apportion([0.9, *[0.01] * 10], 50))[0] == 45
    assert apportion([3.0], 4).tolist() == [0, 0, 0, 0]
    assert np.bincount(apportion([0.5, 0.2, 0.3], 1000)).tolist() == [500, 200, 300]


@pytest.mark.parametrize("shares", [[], [0.5, 0.0], [1.0, -1.0], [float("nan")], [float("inf"), 1.0]])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(ScenarioError):
        apportion(shares, 3)


def test_a_client_added_shifts_nobody():
    small, large = Fleet.build(GROUPS, 300, 7), Fleet.build(GROUPS, 5000, 7)
    for name in ARRAYS:
        assert (getattr(small, name) == getattr(large, name)[:300]).all()
    everyone = np.arange(300)
    for time in (0.0, 40 * HOUR):
        assert (small.offline_from_s(everyone, time) == large.offline_from_s(everyone, time)).all()
        assert (small.pressure_bytes(everyone, time) == large.pressure_bytes(everyone, time)).all()


def test_the_order_of_the_mix_changes_nothing():
    one, other = Fleet.build(GROUPS, 1000, 7), Fleet.build(GROUPS[::-1], 1000, 7)
    assert [g.device for g in one.groups] == [g.device for g in other.groups]
    for name in ARRAYS:
        assert (getattr(one, name) == getattr(other, name)).all()


def test_a_device_class_added_shifts_no_other_clients_draws():
    more = [*GROUPS, Group("agx", 0.4, WIFI, speed_spread=0.2, memory_spread=0.1)]
    one, other = Fleet.build(GROUPS, 2000, 7), Fleet.build(more, 2000, 7)
    device = [np.array([g.device for g in fleet.groups])[fleet.group] for fleet in (one, other)]
    same = device[0] == device[1]
    assert same.sum() > 300
    for name in ARRAYS[1:]:
        assert (getattr(one, name) == getattr(other, name))[same].all()


def test_another_seed_gives_another_fleet():
    one, other = Fleet.build(GROUPS, 1000, 7), Fleet.build(GROUPS, 1000, 8)
    assert (one.group == other.group).all()
    assert (one.speed != other.speed).mean() == 0.8  # all but the group without spread


def test_spreads_are_log_normal_of_median_one():
    fleet = Fleet.build([Group("a", 1.0, WIFI, speed_spread=0.2, memory_spread=0.1)], 20_000, 3)
    for factor, sigma in (
        (fleet.speed, 0.2),
        (fleet.system_factor, 0.1),
        (fleet.down_bytes_per_s / 6e6, 0.5),
        (fleet.up_bytes_per_s / 2e6, 0.5),
    ):
        log = np.log(factor)
        assert abs(log.mean()) < 4 * sigma / np.sqrt(20_000)
        assert log.std() == pytest.approx(sigma, rel=0.03)
    assert abs(np.corrcoef(fleet.speed, fleet.system_factor)[0, 1]) < 4 / np.sqrt(20_000)
    assert fleet.down_bytes_per_s / fleet.up_bytes_per_s == pytest.approx(3.0)


def test_no_spread_is_exactly_the_device():
    fleet = Fleet.build([Group("a", 1.0, FIXED)], 10, 3)
    assert fleet.speed.tolist() == [1.0] * 10
    assert fleet.down_bytes_per_s.tolist() == [1e8] * 10


def test_local_clocks_are_dealt_evenly():
    fleet = Fleet.build(GROUPS, 30_000, 1)
    offsets = fleet.utc_offset_s[np.array([g.device == "phone" for g in fleet.groups])[fleet.group]]
    share = np.array([(offsets == o).mean() for o in (0.0, 3600.0, 7200.0)])
    assert (np.abs(share - 1 / 3) < 4 * np.sqrt(2 / 9 / offsets.size)).all()


def test_answers_do_not_depend_on_who_else_is_asked():
    fleet = Fleet.build(GROUPS, 500, 2)
    some = np.array([3, 77, 410, 12])
    for answer in (
        fleet.offline_from_s,
        fleet.online_from_s,
        fleet.pressure_bytes,
        fleet.crash_from_s,
    ):
        whole = answer(np.arange(500), 9e4)
        assert (answer(some, 9e4) == whole[some]).all()
        assert answer(77, 9e4) == whole[77]
        assert (answer(some, np.full(4, 9e4)) == whole[some]).all()


def test_groups_of_one_kind_answer_together_as_each_would_alone():
    kinds = [
        (Markov(5 * HOUR, 2 * HOUR), Programs(1e9, spread=0.4)),
        (Markov(1 * HOUR, 9 * HOUR), Programs(2e9, (Routine(1e9, Hours(9 * HOUR, 17 * HOUR)),))),
        (Overnight(), named("phone").load()),
        (Overnight(21 * HOUR, 33 * HOUR, 0.5 * HOUR, 0.4), named("laptop").load()),
        (Overnight(nights=0.0), Constant(3e9)),
        (Always(), Programs(0.0, (), (Burst(4e9, 3 * HOUR, HOUR),))),
    ]
    groups = [Group(str(k), 1.0, WIFI, a, p) for k, (a, p) in enumerate(kinds)]
    fleet = Fleet.build(groups, 600, 5)
    everyone = np.arange(600)
    start = np.linspace(0.0, 3e5, 600)
    limit = np.linspace(5e8, 6e9, 600)
    together = (
        fleet.offline_from_s(everyone, start) > start,
        fleet.offline_from_s(everyone, start),
        fleet.online_from_s(everyone, start),
        fleet.pressure_bytes(everyone, start),
        fleet.first_exceeds_s(everyone, limit, start, start + 9 * HOUR),
    )
    for g, group in enumerate(fleet.groups):
        rows = np.flatnonzero(fleet.group == g)
        who, time = fleet.who(rows), start[rows]
        one_group = (
            group.availability.offline_from_s(who, time) > time,
            group.availability.offline_from_s(who, time),
            group.availability.online_from_s(who, time),
            alone(group.pressure).bytes_at(who, time),
            alone(group.pressure).first_exceeds_s(who, limit[rows], time, time + 9 * HOUR),
        )
        for a, b in zip(together, one_group, strict=True):
            assert (a[rows] == b).all()


def test_next_online_is_the_first_of_all():
    fleet = Fleet.build([Group("phone", 1.0, WIFI, Overnight())], 200, 2)
    noon = 12 * HOUR
    first = fleet.next_online_s(noon)
    assert first == fleet.online_from_s(np.arange(200), noon).min()
    assert first > noon
    assert (fleet.offline_from_s(np.arange(200), first) > first).any()
    assert fleet.next_online_s(first) == first
    gone = Fleet.build([Group("phone", 1.0, WIFI, Overnight(nights=0.0))], 200, 2)
    assert gone.next_online_s(0.0) == np.inf


def test_crashes_come_at_their_rate():
    fleet = Fleet.build(GROUPS, 50_000, 4)
    wait = fleet.crash_from_s(np.arange(50_000), 5e5) - 5e5
    wait = wait[np.isfinite(wait)]
    assert wait.size == 10_000
    assert abs(wait.mean() - 1e4) < 4 * 1e4 / np.sqrt(wait.size)
    assert Fleet.build(GROUPS[:1], 10, 4).crash_from_s(np.arange(10), 0.0) is None


def test_crashes_are_the_same_in_any_order_of_asking():
    draw = np.random.default_rng(2)
    clients, time_s = draw.integers(0, 300, 2000), draw.uniform(0.0, 1e5, 2000)
    asked = Fleet.build(GROUPS, 300, 4)
    one_by_one = [float(asked.crash_from_s([c], t)[0]) for c, t in zip(clients, time_s, strict=True)]
    assert one_by_one == Fleet.build(GROUPS, 300, 4).crash_from_s(clients, time_s).tolist()
    after = np.isfinite(one_by_one)
    assert 0 < after.sum() < 2000
    assert (np.array(one_by_one)[after] > time_s[after]).all()


def test_an_endless_or_unstarted_span_of_pressure():
    fleet = Fleet.build(GROUPS, 10, 4)
    start = np.array([0.0, np.inf] * 5)
    first = fleet.first_exceeds_s(np.arange(10), -1.0, start, np.full(10, np.inf))
    assert (first == start).all()


@pytest.mark.parametrize("clients", [0, -1, 10**9])
def test_a_fleet_of_no_size_is_refused(clients):
    with pytest.raises(ScenarioError):
        Fleet.build(GROUPS, clients, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"share": 0.0},
        {"share": float("nan")},
        {"speed_spread": -0.1},
        {"memory_spread": 9.0},
        {"utc_offsets_s": ()},
        {"utc_offsets_s": (0.5,)},
        {"crash_per_s": -1.0},
    ],
)
def test_a_group_that_cannot_be_is_refused(change):
    with pytest.raises(ScenarioError):
        Group(**{"device": "a", "share": 1.0, "link": WIFI, **change})
