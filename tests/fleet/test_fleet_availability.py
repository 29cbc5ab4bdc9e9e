"""Availability: hand-derived spans, purity, and the chain's stationary law."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim import checks
from fedsim.errors import InputError, TraceError
from fedsim.fleet import Who, spans
from fedsim.fleet.availability import AVAILABILITIES, Always, Availability, Markov, Overnight, Replay
from fedsim.options import Options, one_of
from tests.fleet.recorded import replay

HOUR, DAY = 3600.0, 86400.0


def who(count, offset_s=0.0, seed=1):
    return Who(np.arange(count), np.full(count, offset_s), np.zeros(count), seed)


def at(time_s, count):
    return np.full(count, float(time_s))


def online(model, clients, time_s):
    return model.offline_from_s(clients, time_s) > time_s


TRACE = spans.build(
    [0, 0, 0, 1, 2], [10.0, 20.0, 50.0, 0.0, 30.0], [20.0, 30.0, 60.0, 100.0, 40.0], None, "x.csv"
)
IN_TURN = replace(TRACE, repeat=True)

MODELS = [
    Always(),
    Overnight(),
    Overnight(opens=0.0, closes=4 * HOUR, jitter=HOUR, nights=0.3),
    Markov(2 * HOUR, 5 * HOUR),
    Markov(10 * DAY, 60.0),
    replay(Replay, TRACE),
    replay(Replay, TRACE, 100.0),
    replay(Replay, TRACE, 35.0),
    replay(Replay, IN_TURN, 35.0),
]


@pytest.mark.parametrize("model", MODELS, ids=repr)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_three_answers_agree_and_are_pure(model, data):
    count = 20
    everyone = who(count, offset_s=data.draw(st.sampled_from([0.0, 3600.0, -7200.0])))
    time = np.array(data.draw(st.lists(st.floats(0.0, 1e6), min_size=count, max_size=count)))
    now_online = online(model, everyone, time)
    off, on = model.offline_from_s(everyone, time), model.online_from_s(everyone, time)
    assert (np.where(now_online, on, off) == time).all()
    assert (off >= time).all()
    assert (on >= time).all()
    # At the change it has changed, and just before it, and half way to it, it has not.
    for change, now in ((off, True), (on, False)):
        rows = np.flatnonzero(np.isfinite(change) & (change > time))
        some = everyone.take(rows)
        assert (online(model, some, change[rows]) == (not now)).all()
        assert (online(model, some, (time[rows] + change[rows]) / 2) == now).all()
        before = np.maximum(change[rows] - 1e-3, time[rows])
        assert (online(model, some, before) == now).all()
    # One client's answer, asked alone, later, and in another order, is the same.
    k = data.draw(st.integers(0, count - 1))
    one = everyone.take(np.array([k]))
    assert online(model, one, time[[k]])[0] == now_online[k]
    back = everyone.take(np.arange(count)[::-1])
    assert (model.offline_from_s(back, time[::-1])[::-1] == off).all()
    assert (model.online_from_s(back, time[::-1])[::-1] == on).all()


def test_overnight_without_jitter_is_a_window_in_local_time():
    model = Overnight(opens=22 * HOUR, closes=30 * HOUR, jitter=0.0, nights=1.0)
    rome = who(1, offset_s=HOUR)
    assert model.online_from_s(rome, at(12 * HOUR, 1)) == [21 * HOUR]
    assert not online(model, rome, at(21 * HOUR - 0.001, 1))[0]
    assert online(model, rome, at(21 * HOUR, 1))[0]
    assert model.offline_from_s(rome, at(21 * HOUR, 1)) == [29 * HOUR]
    assert model.offline_from_s(rome, at(28 * HOUR, 1)) == [29 * HOUR]
    assert not online(model, rome, at(29 * HOUR, 1))[0]
    # The night before Monday counts too.
    assert online(model, rome, at(0.0, 1))[0]
    assert model.offline_from_s(rome, at(0.0, 1)) == [5 * HOUR]


def test_overnight_jitter_stays_within_bounds_and_nights_are_kept():
    model = Overnight(opens=22 * HOUR, closes=30 * HOUR, jitter=HOUR, nights=0.7)
    count = 5000
    everyone = who(count)
    start = model.online_from_s(everyone, at(0.5 * DAY, count))
    tonight = start < 1.5 * DAY
    assert abs(tonight.mean() - 0.7) < 4 * np.sqrt(0.7 * 0.3 / count)
    end = model.offline_from_s(everyone, start)
    assert (start[tonight] >= 21 * HOUR).all()
    assert (start[tonight] <= 23 * HOUR).all()
    assert (end[tonight] >= 29 * HOUR).all()
    assert (end[tonight] <= 31 * HOUR).all()
    assert abs(start[tonight].mean() - 22 * HOUR) < 4 * HOUR / np.sqrt(3 * 0.7 * count)


def test_overnight_with_no_nights_is_never_online():
    model = Overnight(nights=0.0)
    assert model.online_from_s(who(3), at(0.0, 3)).tolist() == [np.inf] * 3


@pytest.mark.parametrize(("on_s", "off_s"), [(2 * HOUR, 6 * HOUR), (DAY, HOUR), (60.0, 60.0)])
def test_markov_occupancy_is_stationary_within_four_standard_errors(on_s, off_s):
    count = 40_000
    model, stationary = Markov(on_s, off_s), on_s / (on_s + off_s)
    for time in (0.0, 12345.6, 3e6):
        share = online(model, who(count), at(time, count)).mean()
        assert abs(share - stationary) < 4 * np.sqrt(stationary * (1 - stationary) / count)


def test_markov_spans_have_their_means_and_are_exponential():
    count, model = 40_000, Markov(2 * HOUR, 6 * HOUR)
    everyone = who(count)
    start = model.online_from_s(everyone, model.offline_from_s(everyone, at(1e5, count)))
    on = model.offline_from_s(everyone, start) - start
    off_from = start + on
    off = model.online_from_s(everyone, off_from) - off_from
    for span, mean in ((on, 2 * HOUR), (off, 6 * HOUR)):
        assert abs(span.mean() - mean) < 4 * mean / np.sqrt(count)
        tail = (span > 2 * mean).mean()
        assert abs(tail - np.exp(-2)) < 4 * np.sqrt(np.exp(-2) / count)
    assert abs(np.corrcoef(on, off)[0, 1]) < 4 / np.sqrt(count)


def test_markov_decorrelates_as_the_chain_says():
    # P(online at t and at t + d) - P(online)^2 = p (1 - p) exp(-(a + b) d)
    count, model, gap = 40_000, Markov(2 * HOUR, 2 * HOUR), HOUR
    first = online(model, who(count), at(1e5, count)).astype(float)
    second = online(model, who(count), at(1e5 + gap, count)).astype(float)
    expected = np.exp(-(gap / (2 * HOUR) + gap / (2 * HOUR)))
    assert abs(np.corrcoef(first, second)[0, 1] - expected) < 4 / np.sqrt(count)


def test_replay_joins_touching_spans_and_ends_with_its_trace():
    model, three = replay(Replay, TRACE), who(3)
    assert online(model, three, at(19.0, 3)).tolist() == [True, True, False]
    assert model.offline_from_s(three, at(15.0, 3)).tolist() == [30.0, 100.0, 15.0]
    assert model.online_from_s(three, at(35.0, 3)).tolist() == [50.0, 35.0, 35.0]
    assert model.online_from_s(three, at(100.0, 3)).tolist() == [np.inf] * 3


def test_replay_again_and_again():
    model, three = replay(Replay, TRACE, 100.0), who(3)
    assert model.online_from_s(three, at(1070.0, 3)).tolist() == [1110.0, 1070.0, 1130.0]
    assert model.offline_from_s(three, at(1115.0, 3)).tolist() == [1130.0, np.inf, 1115.0]


def test_replay_goes_over_the_edge_of_a_lap():
    trace = spans.build([0, 0], [0.0, 80.0], [10.0, 100.0], None, "x.csv")
    model = replay(Replay, trace, 100.0)
    assert model.offline_from_s(who(1), at(90.0, 1)).tolist() == [110.0]


def test_a_client_without_a_line_is_never_online_unless_clients_follow_the_ids_in_turn():
    two = [True, True, False]
    assert online(replay(Replay, TRACE), who(6), at(55.0, 6)).tolist() == [*two, False, False, False]
    assert online(replay(Replay, IN_TURN), who(6), at(55.0, 6)).tolist() == two * 2
    for period in (None, 100.0):
        model = replay(Replay, TRACE, period)
        assert model.online_from_s(who(6), at(0.0, 6)).tolist() == [10.0, 0.0, 30.0, *[np.inf] * 3]
        assert model.offline_from_s(who(6), at(1.0, 6)).tolist()[3:] == [1.0] * 3


def test_a_trace_file_is_read_from_csv_and_parquet(tmp_path):
    import pyarrow as pa
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    table = pa.table({"client": [1, 0, 1], "start_s": [0.0, 5.0, 20.0], "end_s": [10.0, 15.0, 30.0]})
    pq.write_table(table, tmp_path / "t.parquet")
    pc.write_csv(table, str(tmp_path / "t.csv"))
    for name in ("t.parquet", "t.csv"):
        model = Replay(str(tmp_path / name))
        assert online(model, who(2), at(7.0, 2)).tolist() == [True, True]
        assert model.online_from_s(who(2), at(16.0, 2)).tolist() == [np.inf, 20.0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("client,start_s\n1,2\n", "has no column 'end_s'"),
        ("client,start_s,end_s\n", "has no rows"),
        ("client,start_s,end_s\n1,5,4\n", "line 2 ends before it starts"),
        ("client,start_s,end_s\n1,x,4\n", "not a number in line 2"),
        ("client,start_s,end_s\n1,-3,4\n", "-3.0 in line 2"),
        ("client,start_s,end_s\n1,nan,4\n", "nan in line 2"),
        (
            "client,start_s,end_s\n1,2,4\n1,5,6,7\n",
            r"t\.csv: line 3: cannot be read: Expected 3 columns, got 4",
        ),
        ("client,start_s,end_s\n1,2,4\n1,5\n", r"t\.csv: line 3: cannot be read: Expected 3 columns, got 2"),
    ],
)
def test_a_faulty_trace_is_one_sentence(tmp_path, text, said):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(TraceError, match=said) as fault:
        Replay(str(path)).load()
    assert str(path) in str(fault.value)


def test_a_trace_whose_text_is_not_utf_8_is_one_sentence(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    client = pa.array([b"a\xff", b"b"]).view(pa.string())
    times = pa.array([0.0, 1.0]), pa.array([2.0, 3.0])
    pq.write_table(pa.table([client, *times], ["client", "start_s", "end_s"]), tmp_path / "t.parquet")
    with pytest.raises(TraceError, match=r"t\.parquet: cannot be read: .*Invalid UTF8"):
        Replay(str(tmp_path / "t.parquet")).load()


def test_a_trace_that_is_not_there():
    with pytest.raises(TraceError, match="there is no trace 'nowhere'"):
        Replay("nowhere").load()


@pytest.mark.parametrize(
    ("availability", "said"),
    [
        ({"kind": "overnight", "opens": "22h", "closes": "47h"}, "must leave a gap"),
        ({"kind": "overnight", "opens": "22h", "closes": "23h"}, "longer than twice its jitter"),
        ({"kind": "overnight", "opens": "21h", "closes": "23h", "jitter": "66min"}, "twice its jitter"),
        ({"kind": "overnight", "nights": 1.5}, "nights: 1.5 is not at most 1"),
        ({"kind": "overnight", "opens": "-1s"}, "opens: is '-1s'; give a time of day"),
        (
            {"kind": "overnight", "opens": "24h", "closes": "30h"},
            "opens: is '24h'; give a time of day below 24h",
        ),
        (
            {"kind": "markov", "mean_online": "0s", "mean_offline": "1s"},
            "mean_online: is '0s'; give a mean time from 1s to 10000d",
        ),
        ({"kind": "markov", "mean_online": "1s", "mean_offline": float("nan")}, "mean_offline"),
        ({"kind": "trace", "file": "x.csv", "period": "0.5s"}, "0.5 s is no period"),
    ],
)
def test_what_cannot_be_is_refused(availability, said):
    with pytest.raises(InputError) as fault:
        checks.check(AnyAvailability, {"availability": availability})
    assert said in str(fault.value)


def test_a_trace_that_begins_when_its_period_ends_is_refused():
    late = spans.build([0], [100.0], [110.0], None, "x.csv")
    with pytest.raises(InputError, match="is empty before its period ends"):
        replay(Replay, late, 100.0).load()
    assert replay(Replay, late, 101.0).load().online_from_s(who(1), at(0.0, 1)).tolist() == [100.0]


def test_two_clients_of_groups_that_differ_are_asked_together():
    # One has a night every night and the other none: the first is looked for further than the second.
    both = Overnight.together([Overnight(nights=1.0), Overnight(nights=0.0), Overnight(nights=0.5)])
    for which in ([0, 1], [1, 0], [2, 1], [0, 2]):
        found = both(np.array(which)).online_from_s(who(2), at(12 * HOUR, 2))
        alone = [
            Overnight(nights=(1.0, 0.0, 0.5)[k]).online_from_s(who(2), at(12 * HOUR, 2))[row]
            for row, k in enumerate(which)
        ]
        assert found.tolist() == alone


@dataclass(frozen=True)
class AnyAvailability(Options):
    availability: Annotated[Availability, one_of(Availability, AVAILABILITIES)]
