"""The server's link: hand-derived cases, and what must hold for any."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.engine import link
from fedsim.engine.link import fill, is_contended, share

INF = np.inf


def test_wide_enough_a_link_leaves_everyone_alone():
    got = share([0.0, 1.0], [10.0, 10.0], [5.0, 2.0], [INF, INF], 7.0)
    assert got.end_s.tolist() == [2.0, 6.0]
    assert got.done.all()
    assert not got.contended


def test_transfers_that_do_not_meet_do_not_share():
    got = share([0.0, 2.0], [10.0, 10.0], [5.0, 5.0], [INF, INF], 5.0)
    assert got.end_s.tolist() == [2.0, 4.0]
    assert not got.contended


def test_equal_transfers_share_evenly():
    got = share([0.0] * 4, [10.0] * 4, [INF] * 4, [INF] * 4, 8.0)
    assert got.end_s == pytest.approx([5.0] * 4)
    assert got.contended


def test_a_slow_client_leaves_its_share_to_the_others():
    # Rates 1, 4.5, 4.5 until the two are done at 20/4.5; the slow one has the link to itself after.
    got = share([0.0] * 3, [10.0, 20.0, 20.0], [1.0, 50.0, 50.0], [INF] * 3, 10.0)
    assert got.end_s == pytest.approx([10.0, 20 / 4.5, 20 / 4.5])


def test_one_that_comes_later_takes_half():
    # A alone at 10/s moves 20 in 2 s; both at 5/s; A has 10 left: ends at 4. B moved 10 by then, then 10/s.
    got = share([0.0, 2.0], [30.0, 30.0], [INF, INF], [INF, INF], 10.0)
    assert got.end_s == pytest.approx([4.0, 6.0])


def test_one_that_leaves_gives_its_share_back():
    # Two at 5/s; B leaves at 2 with 10 moved; A has 20 left at 10/s: ends at 4.
    got = share([0.0, 0.0], [30.0, 30.0], [INF, INF], [INF, 2.0], 10.0)
    assert got.end_s == pytest.approx([4.0, 2.0])
    assert got.moved_bytes == pytest.approx([30.0, 10.0])
    assert got.done.tolist() == [True, False]


def test_complete_at_the_instant_of_leaving_is_complete():
    got = share([0.0, 0.0], [10.0, 10.0], [5.0, 5.0], [2.0, 2.0], 100.0)
    assert got.done.all()


def test_one_that_leaves_before_it_arrives_moves_nothing():
    got = share([5.0, 0.0, 0.0], [0.0, 10.0, 10.0], [5.0, 5.0, 5.0], [2.0, INF, INF], 5.0)
    assert got.moved_bytes.tolist() == [0.0, 10.0, 10.0]
    assert got.done.tolist() == [False, True, True]


def test_nothing_to_move_is_done_on_arrival():
    got = share([3.0, 0.0, 0.0], [0.0, 10.0, 10.0], [5.0, 5.0, 5.0], [INF] * 3, 5.0)
    assert got.end_s == pytest.approx([3.0, 4.0, 4.0])


def test_a_link_of_no_rate_never_ends():
    got = share([0.0, 0.0, 0.0], [10.0] * 3, [0.0, 5.0, 5.0], [INF] * 3, 5.0)
    assert got.end_s == pytest.approx([INF, 4.0, 4.0])
    assert got.moved_bytes == pytest.approx([0.0, 10.0, 10.0])
    assert got.done.tolist() == [False, True, True]


def test_fill_gives_the_level_of_the_textbook():
    assert fill(np.array([2.0, 2.6, 4.0, 5.0]), 10.0) == pytest.approx(2.7)
    assert fill(np.array([1.0, 2.0]), 3.0) == INF
    assert fill(np.array([INF, INF]), 3.0) == 1.5
    assert fill(np.array([]), 3.0) == INF


def test_contention_is_seen_only_where_transfers_overlap():
    arrival, until = np.array([0.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0])
    assert not is_contended(arrival, until, np.full(3, 5.0), 5.0)
    assert is_contended(arrival, until + 0.1, np.full(3, 5.0), 5.0)


def slow_share(arrival, size, cap, leave, rate):
    """The same fluid by the plainest means: look at every transfer at every change of rate."""
    n = len(arrival)
    left, end, state = list(size), [INF] * n, ["waiting"] * n
    now = min(arrival)
    while True:
        for i in range(n):
            if state[i] == "waiting" and arrival[i] <= now and leave[i] > arrival[i]:
                state[i] = "active"
        active = [i for i in range(n) if state[i] == "active"]
        rates, rest, todo = {}, rate, sorted(active, key=lambda i: cap[i])
        for k, i in enumerate(todo):
            rates[i] = min(cap[i], rest / (len(todo) - k))
            rest -= rates[i]
        ends = {
            i: now + left[i] / rates[i] if left[i] > 0 else now for i in active if rates[i] or not left[i]
        }
        events = [*ends.values(), *(leave[i] for i in active)]
        events += [arrival[i] for i in range(n) if state[i] == "waiting" and leave[i] > arrival[i]]
        after = min(events, default=INF)
        if after == INF:
            return end, [s - r for s, r in zip(size, left, strict=True)]
        for i in active:
            if ends.get(i, INF) <= after:
                left[i], end[i], state[i] = 0.0, after, "ended"
            else:
                left[i] -= rates[i] * (after - now)
                if leave[i] <= after:
                    end[i], state[i] = after, "left"
        now = after


amounts = st.sampled_from([0.0, 1.0, 2.0, 2.5, 3.0, 7.0, 10.0, 31.0])
transfers = st.lists(
    st.tuples(
        amounts,
        amounts,
        st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0, 9.0, INF]),
        st.sampled_from([1.0, 2.5, 4.0, 8.0, 20.0, INF, INF]),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=300, deadline=None)
@given(transfers, st.sampled_from([0.5, 1.0, 3.0, 4.0, 10.0, 100.0]), st.sampled_from([0, 1, 3, 48]))
def test_all_tiers_agree_with_the_plainest_fluid(given_transfers, rate, steps):
    arrival, size, cap, leave = map(list, zip(*given_transfers, strict=True))
    patch = pytest.MonkeyPatch()
    patch.setattr(link, "STEPS", steps)
    try:
        got = share(arrival, size, cap, leave, rate)
    finally:
        patch.undo()
    end, moved = slow_share(arrival, size, cap, leave, rate)
    for i in range(len(arrival)):
        if leave[i] > arrival[i]:
            assert got.end_s[i] == pytest.approx(min(end[i], leave[i]), rel=1e-9)
            assert got.moved_bytes[i] == pytest.approx(moved[i], rel=1e-9, abs=1e-9)
        assert got.done[i] == (got.moved_bytes[i] >= size[i] and got.end_s[i] < INF) or leave[i] <= arrival[i]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 400), st.floats(0.5, 200.0), st.booleans())
def test_bytes_are_conserved_and_the_rate_is_never_exceeded(seed, count, rate, at_once):
    draw = np.random.default_rng(seed)
    arrival = np.full(count, 3.0) if at_once else draw.uniform(0, 50, count)
    size, cap = draw.lognormal(2, 1, count), draw.lognormal(0, 1, count)
    leave = np.where(draw.random(count) < 0.3, arrival + draw.exponential(20, count), INF)
    got = share(arrival, size, cap, leave, rate)
    assert (got.end_s[got.done] >= (arrival + size / cap)[got.done] * (1 - 1e-12)).all()
    assert (got.moved_bytes <= size * (1 + 1e-12)).all()
    assert (got.moved_bytes[got.done] == size[got.done]).all()
    assert (got.end_s <= leave).all()
    # In no span of time does more arrive in full than the link carries in it.
    inside = got.done
    order = np.argsort(got.end_s[inside])
    ends, starts, sizes = got.end_s[inside][order], arrival[inside][order], size[inside][order]
    for begin in np.unique(arrival)[:20]:
        within = np.cumsum(np.where(starts >= begin, sizes, 0.0))
        assert (within <= rate * np.maximum(ends - begin, 0.0) * (1 + 1e-9) + 1e-9).all()
    # The link never idles while the slowest to end could have gone faster.
    if at_once and got.done.all() and got.contended:
        assert got.end_s.max() - 3.0 >= size.sum() / rate * (1 - 1e-9)


def test_a_large_cohort_takes_the_same_time_whichever_way_it_is_worked_out():
    draw = np.random.default_rng(1)
    count = 3000
    arrival = draw.uniform(0, 100, count)
    size, cap = np.full(count, 50.0), draw.lognormal(1, 0.7, count)
    leave = np.where(draw.random(count) < 0.1, arrival + 30.0, INF)
    quick = share(arrival, size, cap, leave, 700.0)
    patch = pytest.MonkeyPatch()
    patch.setattr(link, "STEPS", 10**9)
    plain = share(arrival, size, cap, leave, 700.0)
    patch.undo()
    assert quick.contended
    assert quick.end_s == pytest.approx(plain.end_s, rel=1e-9)
    assert quick.moved_bytes == pytest.approx(plain.moved_bytes, rel=1e-9)
