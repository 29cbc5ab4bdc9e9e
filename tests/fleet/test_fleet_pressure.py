"""Memory pressure: exact first passages, purity, hand-derived levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim import checks, rng
from fedsim.errors import InputError, TraceError
from fedsim.fleet import Who, spans
from fedsim.fleet.family import alone
from fedsim.fleet.hours import Hours
from fedsim.fleet.pressure import PRESSURES, Burst, Constant, Pressure, Programs, Replay, Routine, named
from fedsim.options import Options, one_of
from tests.fleet.recorded import replay

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


def programs(*figures, **named_figures):
    return alone(Programs(*figures, **named_figures))


def who(count, offset_s=0.0, seed=1):
    appetite = rng.normals(rng.key(seed, "appetite"), np.arange(count))
    return Who(np.arange(count), np.full(count, offset_s), appetite, seed)


TRACE = spans.build(
    [0, 0, 1, 1], [0.0, 10.0, 5.0, 30.0], [10.0, 20.0, 6.0, 40.0], [3.0, 8.0, 5.0, 9.0], "x.csv"
)

MODELS = [
    Constant(5.0),
    programs(
        1.0, (Routine(4.0, Hours(8 * HOUR, 20 * HOUR)), Routine(5.0, Hours(22 * HOUR, 30 * HOUR))), spread=0.3
    ),
    programs(2.0, bursts=(Burst(5.0, HOUR, 10 * MINUTE), Burst(2.0, 10 * MINUTE, 9 * MINUTE)), spread=0.2),
    programs(
        1.0,
        (Routine(4.0, Hours(8 * HOUR, 20 * HOUR)),),
        (Burst(7.0, 2 * HOUR, HOUR, Hours(20 * HOUR, 26 * HOUR)),),
    ),
    replay(Replay, TRACE),
    replay(Replay, TRACE, period=50.0),
    replay(Replay, TRACE, period=33.0),
]


@pytest.mark.parametrize("model", MODELS, ids=repr)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_first_exceeds_is_what_a_fine_search_finds(model, data):
    count = 12
    everyone = who(count, offset_s=data.draw(st.sampled_from([0.0, 3600.0])))
    scale = 1.0 if isinstance(model, Replay) else HOUR
    start = np.array(data.draw(st.lists(st.floats(0.0, 60.0), min_size=count, max_size=count))) * scale
    end = start + np.array(data.draw(st.lists(st.floats(0.0, 40.0), min_size=count, max_size=count))) * scale
    limit = np.array(data.draw(st.lists(st.floats(0.5, 12.0), min_size=count, max_size=count)))
    first = model.first_exceeds_s(everyone, limit, start, end)
    found = np.isfinite(first)
    assert (first[found] >= start[found]).all()
    assert (first[found] < end[found]).all()
    there = model.bytes_at(everyone.take(found), first[found])
    assert (there > limit[found]).all()
    for share in np.linspace(0.0, 1.0, 60, endpoint=False):
        time = start + share * (end - start)
        before = (time < first) & (time < end)
        assert (model.bytes_at(everyone.take(before), time[before]) <= limit[before]).all()
    # Alone, and asked again, it is the same.
    k = data.draw(st.integers(0, count - 1))
    rows = np.array([k])
    assert model.first_exceeds_s(everyone.take(rows), limit[rows], start[rows], end[rows])[0] == first[k]
    assert (model.first_exceeds_s(everyone, limit, start, end) == first).all()


def test_an_empty_span_is_never_exceeded():
    time = np.array([5.0])
    for model in MODELS:
        assert model.first_exceeds_s(who(1), np.array([-1.0]), time, time).tolist() == [np.inf]


def test_hours_of_the_day_in_local_time():
    model = programs(1.0, (Routine(2.0, Hours(8 * HOUR, 20 * HOUR)),))
    rome = who(1, offset_s=HOUR)
    held = [model.bytes_at(rome, np.array([t * HOUR]))[0] for t in (6.99, 7.0, 18.99, 19.0)]
    assert held == [1.0, 3.0, 3.0, 1.0]
    first = model.first_exceeds_s(rome, np.array([2.0]), np.array([20 * HOUR]), np.array([9 * DAY]))
    assert first.tolist() == [31 * HOUR]


def test_hours_over_midnight():
    model = programs(1.0, (Routine(2.0, Hours(22 * HOUR, 30 * HOUR)),))
    held = model.bytes_at(who(4), np.array([21.0, 23.0, 29.0, 31.0]) * HOUR)
    assert held.tolist() == [1.0, 3.0, 3.0, 1.0]
    start = np.array([7 * HOUR])
    assert model.first_exceeds_s(who(1), np.ones(1), start, start + DAY).tolist() == [22 * HOUR]


def test_bursts_keep_their_rate_their_length_and_their_hours():
    burst = Burst(5.0, 6 * HOUR, 12 * MINUTE, Hours(8 * HOUR, 20 * HOUR))
    model, count = programs(0.0, bursts=(burst,)), 30_000
    busy = model.bytes_at(who(count), np.full(count, 14 * HOUR)) > 0
    # Stretches of clients begin at moments of their own, so the hour does not matter: a program is
    # opened at a rate of 1 / every, and runs exponentially unless the stretch ends first, which it
    # does at a uniform moment after the opening.
    cut = 12 / 360
    share = cut * (1 - cut * (1 - np.exp(-1 / cut)))
    assert abs(busy.mean() - share) < 4 * np.sqrt(share / count)
    assert not model.bytes_at(who(count), np.full(count, 23 * HOUR)).any()
    # From 23:00 on nothing opens before 8:00 the next day.
    first = model.first_exceeds_s(
        who(count), np.zeros(count), np.full(count, 23 * HOUR), np.full(count, 99 * HOUR)
    )
    assert first.min() >= 32 * HOUR
    # At a constant rate of one in 6 h from 8:00 on, some have to wait for the second stretch.
    early = first < 36 * HOUR
    assert abs(early.mean() - expected_share(4 / 6)) < 4 * np.sqrt(2 / 9 / count)


def expected_share(t):
    """P(an opening within ``t`` stretches of an instant): one uniform in each stretch, uniform phase."""
    # With u left of the present stretch (uniform): in it with chance u' = min(t, u) given its opening
    # is uniform over the whole stretch, else in the next within t - u.
    u = (np.arange(100_000) + 0.5) / 100_000
    miss_now = 1 - np.minimum(t, u)
    miss_next = 1 - np.clip(t - u, 0, 1)
    return 1 - (miss_now * miss_next).mean()


def test_clients_differ_by_a_factor_of_median_one():
    held = programs(2.0, spread=0.4).bytes_at(who(20_000), np.zeros(20_000))
    assert np.median(held) == pytest.approx(2.0, rel=0.02)
    assert np.log(held).std() == pytest.approx(0.4, rel=0.03)


def test_a_base_alone_is_constant_and_one_that_spreads_is_not():
    assert Programs(5.0).load() == Constant(5.0)
    assert Programs(5.0, spread=0.1).load() == Programs(5.0, spread=0.1)
    assert named("dedicated").load() == Constant(64e6)


def test_a_program_in_front_replaces_the_others():
    model = programs(1.0, (Routine(3.0, Hours()), Routine(2.0, Hours())))
    assert model.bytes_at(who(1), np.zeros(1)).tolist() == [4.0]


def test_phones_and_laptops_hold_far_less_at_night():
    count = 4000
    for model in (alone(named("phone").load()), alone(named("laptop").load())):
        night = model.bytes_at(who(count), np.full(count, 4 * HOUR))
        noon = model.bytes_at(who(count), np.full(count, 12 * HOUR))
        assert night.mean() < noon.mean() / 1.5
    assert named("dedicated").load().bytes_at(who(2), np.zeros(2)).tolist() == [64e6, 64e6]


def test_replay_of_bytes():
    model = replay(Replay, TRACE)
    both = who(2)
    assert model.bytes_at(both, np.array([5.0, 5.5])).tolist() == [3.0, 5.0]
    assert model.bytes_at(both, np.array([20.0, 6.0])).tolist() == [0.0, 0.0]
    first = model.first_exceeds_s(both, np.array([4.0, 6.0]), np.zeros(2), np.full(2, 99.0))
    assert first.tolist() == [10.0, 30.0]
    again = replay(Replay, TRACE, period=50.0)
    first = again.first_exceeds_s(both, np.array([4.0, 6.0]), np.full(2, 145.0), np.full(2, 999.0))
    assert first.tolist() == [160.0, 180.0]


def test_a_trace_with_overlapping_bytes_is_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("client,start_s,end_s,bytes\n1,0,10,5\n1,9,12,6\n")
    with pytest.raises(TraceError, match="line 3 overlaps"):
        Replay(str(path)).load()


@pytest.mark.parametrize(
    ("pressure", "said"),
    [
        ({"kind": "constant", "bytes": "-1B"}, "bytes: '-1B' is below zero"),
        ({"kind": "programs", "base": "1GB", "spread": 4.0}, "spread: 4.0 is not at most 3"),
        (
            {"base": "1GB", "routine": [{"holds": "1GB", "hours": {"opens": "25h", "closes": "26h"}}]},
            "opens: ",
        ),
        (
            {"base": "1GB", "routine": [{"holds": "1GB", "hours": {"opens": "8h", "closes": "8h"}}]},
            "no hours of a day",
        ),
        ({"base": "1GB", "bursts": [{"holds": "1GB", "every": "1ms", "lasts": "1ms"}]}, "every: "),
        (
            {"base": "1GB", "bursts": [{"holds": "1GB", "every": "1min", "lasts": "61s"}]},
            "lasts at most as long",
        ),
        ({"base": "1GB", "bursts": [{"holds": "1GB", "every": "1min", "lasts": "1s"}] * 9}, "bursts: "),
    ],
)
def test_what_cannot_be_is_refused(pressure, said):
    with pytest.raises(InputError) as fault:
        checks.check(AnyPressure, {"pressure": {"kind": "programs", **pressure}})
    assert said in str(fault.value)


@dataclass(frozen=True)
class AnyPressure(Options):
    pressure: Annotated[Pressure, one_of(Pressure, PRESSURES)]
