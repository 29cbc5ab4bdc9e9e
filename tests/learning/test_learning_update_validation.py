"""What any updates whatever do to a model: properties of every rule with every compression."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from federations import KINDS, RULES, federation
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedsim.learning import Federation
from fedsim.learning.update_validation import UpdateValidation

SIZES = (3, 1, 2)
LENGTH = sum(SIZES)
BASE = np.array([0.5, -1.0, 0.0, 2.0, -0.25, 1e-3], np.float32)
LARGEST = 10.0

rules = st.sampled_from(RULES)
compressions = st.sampled_from(KINDS)
honest = st.lists(st.floats(-1.0, 1.0, width=32), min_size=LENGTH, max_size=LENGTH).map(
    lambda step: (BASE + np.array(step, np.float32)).astype(np.float32)
)
anything = st.lists(
    st.floats(width=32) | st.sampled_from([3.4e38, -3.4e38, 1e-45, np.nan, np.inf]),
    min_size=LENGTH,
    max_size=LENGTH,
).map(lambda values: np.array(values, np.float32))
worthless = st.one_of(
    st.sampled_from(
        [
            BASE[:-1],  # a tensor is missing
            np.append(BASE, np.float32(0)),  # one too many
            BASE.reshape(2, 3),
            BASE.astype(np.int32),
            BASE.astype(complex),
            BASE + np.float32(1e30),
            np.full(LENGTH, 1e300),
        ]
    ),
    anything.filter(lambda sent: not np.isfinite(sent).all()),
)
losses = st.floats(0.0, 50.0)
examples = st.integers(1, 10**7).map(float)
late = st.integers(0, 20)
good = st.tuples(honest, examples, losses, late)
Update = tuple[NDArray[Any], float, float, int]


def _spec(rule: str, compression: str = "none", trim: float = 0.2) -> Federation:
    return federation(aggregate=rule, compression=compression, compression_share=0.5, trim=trim)


def _round(spec: Federation, updates: list[Update]) -> tuple[NDArray[Any], NDArray[Any], list[bool]]:
    validation = UpdateValidation(spec, SIZES, LENGTH, LARGEST)
    taken = [validation.offer(sent, BASE, count, loss, age) for sent, count, loss, age in updates]
    return *validation.finish(), taken


@given(rules, compressions, st.lists(good, max_size=6), st.lists(st.tuples(worthless, st.integers(0, 6))))
def test_whatever_is_rejected_leaves_no_trace(
    rule: str, compression: str, updates: list[Update], rubbish: list[tuple[NDArray[Any], int]]
) -> None:
    mixed: list[Update] = list(updates)
    for sent, place in rubbish:
        mixed.insert(place, (sent, 5.0, 0.1, 0))
    step, shares, taken = _round(_spec(rule, compression), mixed)
    alone, alone_shares, all_taken = _round(_spec(rule, compression), updates)
    assert all(all_taken)
    assert taken.count(False) == len(rubbish)
    assert step.tobytes() == alone.tobytes()
    assert shares.tobytes() == alone_shares.tobytes()


@given(rules, st.sampled_from([float("nan"), float("inf"), -float("inf")]))
def test_a_loss_that_is_not_finite_is_rejected(rule: str, loss: float) -> None:
    step, _, taken = _round(_spec(rule), [(BASE + 1, 1.0, loss, 0)])
    assert taken == [False]
    assert not step.any()


@given(
    rules, compressions, st.lists(st.lists(st.tuples(anything | honest, examples, losses, late)), max_size=5)
)
def test_the_model_stays_finite_and_within_its_bound(
    rule: str, compression: str, rounds: list[list[Update]]
) -> None:
    spec = _spec(rule, compression)
    server = spec.aggregate.server(LENGTH)
    model = BASE.copy()
    for updates in rounds:
        validation = UpdateValidation(spec, SIZES, LENGTH, LARGEST)
        for sent, count, loss, age in updates:
            validation.offer(sent, model, count, loss, age)
        step, shares = validation.finish()
        assert np.abs(step).max() <= LARGEST * 1.001  # half precision rounds by 1 in 2048
        model = (model + server.change(step)).astype(np.float32)
        assert np.isfinite(model).all()
        assert shares.sum() == pytest.approx(1.0 if len(shares) else 0.0)


@given(rules, st.lists(good, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_updates_does_not_matter(rule: str, updates: list[Update], luck: Any) -> None:
    order = list(range(len(updates)))
    luck.shuffle(order)
    step, shares, _ = _round(_spec(rule), updates)
    other, other_shares, _ = _round(_spec(rule), [updates[place] for place in order])
    assert other == pytest.approx(step, rel=1e-9, abs=1e-12)
    assert other_shares == pytest.approx(shares[order], rel=1e-9, abs=1e-300)


@given(st.data(), st.sampled_from([0.1, 0.2, 0.34, 0.49]), st.integers(3, 20))
def test_a_trimmed_mean_stays_among_the_honest(data: st.DataObject, trim: float, count: int) -> None:
    liars = int(trim * count)
    spec = _spec("trimmed-mean", trim=trim)
    steps = st.lists(st.floats(-1, 1, width=32), min_size=LENGTH, max_size=LENGTH)
    kept = [np.array(data.draw(steps), np.float32) for _ in range(count - liars)]
    lies = st.lists(st.floats(-4, 4, width=32), min_size=LENGTH, max_size=LENGTH)
    sent = [*kept, *(np.array(data.draw(lies), np.float32) for _ in range(liars))]
    validation = UpdateValidation(spec, SIZES, LENGTH, LARGEST)
    for update in data.draw(st.permutations(sent)):
        assert validation.offer(update, np.zeros(LENGTH, np.float32), 1.0, 1.0, 0)
    step, _ = validation.finish()
    assert (np.min(kept, axis=0) - 1e-12 <= step).all()
    assert (step <= np.max(kept, axis=0) + 1e-12).all()


@pytest.mark.parametrize("rule", RULES)
def test_memory_does_not_grow_with_updates_but_for_the_trimmed_mean(rule: str) -> None:
    size = 20_000
    spec, base = _spec(rule), np.zeros(size, np.float32)

    def peak_bytes(updates: int) -> int:
        tracemalloc.start()
        try:
            validation = UpdateValidation(spec, [size], size, 1e9)
            for number in range(updates):
                validation.offer(np.full(size, number, np.float32), base, 1.0, 1.0, 0)
            validation.finish()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak_bytes(1)  # what is imported and cached at the first use
    grown = (peak_bytes(64) - peak_bytes(4)) / (8 * size)  # in float64 models
    if rule == "trimmed-mean":
        assert grown >= 60
    else:
        assert grown < 0.5
