"""Availability: hand-derived spans, purity, and the chain's stationary law."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.errors import ScenarioError, TraceError
from fedsim.fleet import Who, spans
from fedsim.fleet.availability import Always, Markov, Overnight, Replay

HOUR, DAY = 3600.0, 86400.0


def who(count, offset_s=0.0, seed=1):
    return Who(np.arange(count), np.full(count, offset_s), np.zeros(count), seed)


def at(time_s, count):
    return np.full(count, float(time_s))


TRACE = spans.build(
    ["a", "a", "a", "b", "c"], [10.0, 20.0, 50.0, 0.0, 30.0], [20.0, 30.0, 60.0, 100.0, 40.0], None, "x.csv"
)

MODELS = [
    Always(),
    Overnight(),
    Overnight(from_s=0.0, until_s=4 * HOUR, jitter_s=HOUR, nights=0.3),
    Markov(2 * HOUR, 5 * HOUR),
    Markov(10 * DAY, 60.0),
    Replay(TRACE),
    Replay(TRACE, period_s=100.0),
    Replay(TRACE, period_s=35.0),
]


@pytest.mark.parametrize("model", MODELS, ids=repr)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_three_answers_agree_and_are_pure(model, data):
    count = 20
    everyone = who(count, offset_s=data.draw(st.sampled_from([0.0, 3600.0, -7200.0])))
    time = np.array(data.draw(st.lists(st.floats(0.0, 1e6), min_size=count, max_size=count)))
    online = model.online(everyone, time)
    off, on = model.offline_from_s(everyone, time), model.online_from_s(everyone, time)
    assert (np.where(online, on, off) == time).all()
    assert (off >= time).all()
    assert (on >= time).all()
    # At the change it has changed, and just before it, and half way to it, it has not.
    for change, now in ((off, True), (on, False)):
        rows = np.flatnonzero(np.isfinite(change) & (change > time))
        some = everyone.take(rows)
        assert (model.online(some, change[rows]) == (not now)).all()
        assert (model.online(some, (time[rows] + change[rows]) / 2) == now).all()
        before = np.maximum(change[rows] - 1e-3, time[rows])
        assert (model.online(some, before) == now).all()
    # One client's answer, asked alone, later, and in another order, is the same.
    k = data.draw(st.integers(0, count - 1))
    one = everyone.take(np.array([k]))
    assert model.online(one, time[[k]])[0] == online[k]
    back = everyone.take(np.arange(count)[::-1])
    assert (model.offline_from_s(back, time[::-1])[::-1] == off).all()
    assert (model.online_from_s(back, time[::-1])[::-1] == on).all()


def test_overnight_without_jitter_is_a_window_in_local_time():
    model = Overnight(from_s=22 * HOUR, until_s=30 * HOUR, jitter_s=0.0, nights=1.0)
    rome = who(1, offset_s=HOUR)
    assert model.online_from_s(rome, at(12 * HOUR, 1)) == [21 * HOUR]
    assert not model.online(rome, at(21 * HOUR - 0.001, 1))[0]
    assert model.online(rome, at(21 * HOUR, 1))[0]
    assert model.offline_from_s(rome, at(21 * HOUR, 1)) == [29 * HOUR]
    assert model.offline_from_s(rome, at(28 * HOUR, 1)) == [29 * HOUR]
    assert not model.online(rome, at(29 * HOUR, 1))[0]
    # The night before Monday counts too.
    assert model.online(rome, at(0.0, 1))[0]
    assert model.offline_from_s(rome, at(0.0, 1)) == [5 * HOUR]


def test_overnight_jitter_stays_within_bounds_and_nights_are_kept():
    model = Overnight(from_s=22 * HOUR, until_s=30 * HOUR, jitter_s=HOUR, nights=0.7)
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
        share = model.online(who(count), at(time, count)).mean()
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
    first = model.online(who(count), at(1e5, count)).astype(float)
    second = model.online(who(count), at(1e5 + gap, count)).astype(float)
    expected = np.exp(-(gap / (2 * HOUR) + gap / (2 * HOUR)))
    assert abs(np.corrcoef(first, second)[0, 1] - expected) < 4 / np.sqrt(count)


def test_replay_joins_touching_spans_and_ends_with_its_trace():
    model, three = Replay(TRACE), who(3)
    assert model.online(three, at(19.0, 3)).tolist() == [True, True, False]
    assert model.offline_from_s(three, at(15.0, 3)).tolist() == [30.0, 100.0, 15.0]
    assert model.online_from_s(three, at(35.0, 3)).tolist() == [50.0, 35.0, 35.0]
    assert model.online_from_s(three, at(100.0, 3)).tolist() == [np.inf] * 3


def test_replay_again_and_again():
    model, three = Replay(TRACE, period_s=100.0), who(3)
    assert model.online_from_s(three, at(1070.0, 3)).tolist() == [1110.0, 1070.0, 1130.0]
    assert model.offline_from_s(three, at(1115.0, 3)).tolist() == [1130.0, np.inf, 1115.0]


def test_replay_goes_over_the_edge_of_a_lap():
    trace = spans.build([0, 0], [0.0, 80.0], [10.0, 100.0], None, "x.csv")
    model = Replay(trace, period_s=100.0)
    assert model.offline_from_s(who(1), at(90.0, 1)).tolist() == [110.0]


def test_a_fleet_larger_than_the_trace_goes_round():
    model = Replay(TRACE)
    assert model.online(who(6), at(55.0, 6)).tolist() == [True, True, False, True, True, False]


def test_a_trace_file_is_read_from_csv_and_parquet(tmp_path):
    import pyarrow as pa
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    table = pa.table({"client": [7, 10, 7], "start_s": [0.0, 5.0, 20.0], "end_s": [10.0, 15.0, 30.0]})
    pq.write_table(table, tmp_path / "t.parquet")
    pc.write_csv(table, str(tmp_path / "t.csv"))
    for name in ("t.parquet", "t.csv"):
        model = Replay.load(str(tmp_path / name))
        assert model.online(who(2), at(7.0, 2)).tolist() == [True, True]
        assert model.online_from_s(who(2), at(16.0, 2)).tolist() == [20.0, np.inf]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("client,start_s\n1,2\n", "has no column 'end_s'"),
        ("client,start_s,end_s\n", "has no rows"),
        ("client,start_s,end_s\n1,5,4\n", "row 1 ends before it starts"),
        ("client,start_s,end_s\n1,x,4\n", "not a number"),
        ("client,start_s,end_s\n1,-3,4\n", "-3.0 in row 1"),
        ("client,start_s,end_s\n1,nan,4\n", "nan in row 1"),
    ],
)
def test_a_faulty_trace_is_one_sentence(tmp_path, text, said):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(TraceError, match=said) as fault:
        Replay.load(str(path))
    assert str(path) in str(fault.value)


def test_a_trace_whose_text_is_not_utf_8_is_one_sentence(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    client = pa.array([b"a\xff", b"b"]).view(pa.string())
    times = pa.array([0.0, 1.0]), pa.array([2.0, 3.0])
    pq.write_table(pa.table([client, *times], ["client", "start_s", "end_s"]), tmp_path / "t.parquet")
    with pytest.raises(TraceError, match=r"t\.parquet: cannot be read: .*Invalid UTF8"):
        Replay.load(str(tmp_path / "t.parquet"))


def test_a_trace_that_is_not_there():
    with pytest.raises(TraceError, match="there is no trace 'nowhere'"):
        Replay.load("nowhere")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Overnight(from_s=22 * HOUR, until_s=47 * HOUR),
        lambda: Overnight(from_s=22 * HOUR, until_s=23 * HOUR),
        lambda: Overnight(nights=1.5),
        lambda: Overnight(from_s=-1.0),
        lambda: Markov(0.0, 1.0),
        lambda: Markov(1.0, float("nan")),
        lambda: Replay(TRACE, period_s=0.5),
    ],
)
def test_what_cannot_be_is_refused(make):
    with pytest.raises(ScenarioError):
        make()
