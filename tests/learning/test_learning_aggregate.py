"""Aggregation against averages worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from federations import compression
from federations import rule as rule_of
from hypothesis import given
from hypothesis import strategies as st

from fedsim.learning.aggregate.check import fault as fault_of

UPDATES = np.array([[1.0, 2.0], [3.0, -2.0], [8.0, 0.0]])


def _run(name: str, examples: list[float], losses: list[float]) -> tuple[np.ndarray, np.ndarray]:
    rule = rule_of(name).rule(2, 0.0)
    for update, count, loss in zip(UPDATES, examples, losses, strict=True):
        rule.add(update, count, loss)
    return rule.finish()


def test_fedavg_by_hand() -> None:
    step, shares = _run("fedavg", [1, 2, 5], [0.1, 9.0, 3.0])
    assert step.tolist() == [(1 + 6 + 40) / 8, (2 - 4 + 0) / 8]
    assert shares.tolist() == [1 / 8, 2 / 8, 5 / 8]


def test_uniform_by_hand() -> None:
    step, shares = _run("uniform", [1, 2, 5], [0.1, 9.0, 3.0])
    assert step.tolist() == [4.0, 0.0]
    assert shares == pytest.approx([1 / 3] * 3)


def test_loss_weighted_by_hand() -> None:
    # losses ln 1, ln 2, ln 4: exp(-loss) is 1, 1/2, 1/4, so shares 4/7, 2/7, 1/7
    step, shares = _run("loss-weighted", [1, 2, 5], [0.0, math.log(2), math.log(4)])
    assert shares == pytest.approx([4 / 7, 2 / 7, 1 / 7], abs=1e-15)
    assert step == pytest.approx([(4 + 6 + 8) / 7, (8 - 4) / 7], abs=1e-14)


@given(st.lists(st.floats(-700, 700), min_size=1, max_size=12))
def test_loss_weights_equal_a_float64_softmax(losses: list[float]) -> None:
    rule = rule_of("loss-weighted").rule(len(losses), 0.0)
    for number, loss in enumerate(losses):
        rule.add(np.eye(len(losses))[number], 1.0, loss)
    step, shares = rule.finish()
    negative = -np.array(losses, np.float64)
    softmax = np.exp(negative - negative.max())
    softmax /= softmax.sum()
    assert np.array_equal(shares, softmax)
    assert step == pytest.approx(softmax, rel=1e-9, abs=1e-300)
    assert shares.sum() == pytest.approx(1.0, abs=1e-15)


@pytest.mark.parametrize("name", ["fedavg", "uniform", "loss-weighted"])
def test_no_updates_no_step(name: str) -> None:
    step, shares = rule_of(name).rule(2, 0.0).finish()
    assert step.tolist() == [0.0, 0.0]
    assert shares.tolist() == []


@pytest.mark.parametrize(
    ("weights", "loss", "fault"),
    [
        (np.ones(3), 1.0, None),
        (np.array([1.0, np.nan, 1.0]), 1.0, "has weights that are not finite"),
        (np.array([1.0, np.inf, 1.0]), 1.0, "has weights that are not finite"),
        (np.ones(3), math.nan, "has a loss that is not finite"),
        (np.ones(3), math.inf, "has a loss that is not finite"),
        (np.ones(2), 1.0, "has shape (2,) where (3,) is needed"),
        (np.ones((1, 3)), 1.0, "has shape (1, 3) where (3,) is needed"),
        (np.ones(3, np.int64), 1.0, "has type int64 where float32 is needed"),
        (np.array(["1", "2", "3"]), 1.0, "has type <U1 where float32 is needed"),
        # from (0, 1, 2): (3, 5, 2) is 5 away, which the bound still lets in
        (np.array([3.0, 5.0, 2.0]), 1.0, None),
        (np.array([3.0, 5.001, 2.0]), 1.0, "has norm 5.001, above 5"),
        (np.full(3, 3e38, np.float32), 1.0, "has norm 5.196e+38, above 5"),
        (np.full(3, 1e300), 1.0, "has norm inf, above 5"),
    ],
)
def test_faults(weights: np.ndarray, loss: float, fault: str | None) -> None:
    assert fault_of(weights, np.arange(3, dtype=np.float32), loss, 5.0) == fault


def test_what_is_not_measured_does_not_count_for_the_norm() -> None:
    base, sent = np.zeros(3, np.float32), np.array([3.0, 4.0, 900.0], np.float32)
    assert fault_of(sent, base, 1.0, 5.0, measured=2) is None
    assert fault_of(sent, base, 1.0, 5.0) == "has norm 900, above 5"


def test_staleness_by_hand() -> None:
    # 3 rounds late with exponent 1/2: half the weight
    rule = rule_of("fedavg").rule(2, 0.5)
    rule.add(UPDATES[0], 2.0, 0.0, 3)
    rule.add(UPDATES[1], 1.0, 0.0, 0)
    step, shares = rule.finish()
    assert shares.tolist() == [0.5, 0.5]
    assert step.tolist() == [2.0, 0.0]
    rule = rule_of("loss-weighted").rule(2, 0.5)
    rule.add(UPDATES[0], 1.0, 1.0, 3)
    rule.add(UPDATES[1], 1.0, 1.0, 0)
    assert rule.finish()[1] == pytest.approx([1 / 3, 2 / 3])


def test_trimmed_mean_by_hand() -> None:
    rule = rule_of("trimmed-mean", trim=0.2).rule(2, 0.0)
    for update in ([1.0, 50.0], [2.0, 1.0], [900.0, 2.0], [3.0, 3.0], [4.0, -7.0]):
        rule.add(np.array(update), 1.0, 0.0)
    step, shares = rule.finish()
    assert step.tolist() == [3.0, 2.0]  # of 1 2 3 4 900 the middle three, of -7 1 2 3 50 likewise
    assert shares.tolist() == [0.2] * 5


def test_a_trimmed_mean_outlives_a_liar_where_a_mean_does_not() -> None:
    honest = np.random.default_rng(0).normal(1.0, 0.1, (9, 50))
    rules = [rule_of("trimmed-mean", trim=0.1).rule(50, 0.0), rule_of("uniform").rule(50, 0.0)]
    for rule in rules:
        for update in [*honest, np.full(50, 1e9)]:
            rule.add(update, 1.0, 0.0)
    trimmed, plain = (rule.finish()[0] for rule in rules)
    assert np.abs(trimmed - 1).max() < 0.2
    assert plain.min() > 1e7


def test_fedadam_and_fedyogi_by_hand() -> None:
    # tau 1e-3, betas 0.9 and 0.99, first moment 0, second moment tau^2 (algorithm 2)
    for kind in ("fedadam", "fedyogi"):
        server = rule_of(kind, server_rate=0.5).server(1)
        step, first, second = 0.02, 0.0, 1e-6
        for _ in range(3):
            first = 0.9 * first + 0.1 * step
            if kind == "fedadam":
                second = 0.99 * second + 0.01 * step**2
            else:
                second = second - 0.01 * step**2 * math.copysign(1.0, second - step**2)
            expected = 0.5 * first / (math.sqrt(second) + 1e-3)
            assert server.change(np.array([step])) == pytest.approx([expected], rel=1e-12)
    plain = rule_of("fedavg", server_rate=0.5).server(1)
    assert plain.change(np.array([0.02])).tolist() == [0.02]
    assert plain.state() == {}


def test_a_server_goes_on_where_its_state_was_taken() -> None:
    one, other = (rule_of("fedyogi", server_rate=0.1).server(3) for _ in range(2))
    steps = np.random.default_rng(1).normal(size=(4, 3))
    for step in steps[:2]:
        one.change(step)
    other.restore(one.state())
    for step in steps[2:]:
        assert np.array_equal(one.change(step), other.change(step))


def test_compression_by_hand() -> None:
    update = np.array([0.1, -1.27, 0.004, 3.0, -5.0])
    assert compression("none").compress(update, [3, 2]).tolist() == update.tolist()
    assert compression("fp16").compress(update, [3, 2]).tolist() == [float(np.float16(v)) for v in update]
    # scales 1.27/127 = 0.01 for the first tensor and 5/127 for the second
    coarse = compression("int8").compress(update, [3, 2])
    assert coarse == pytest.approx([0.1, -1.27, 0.0, 76 * 5 / 127, -5.0], abs=1e-12)
    assert compression("top-k", 0.4).compress(update, [3, 2]).tolist() == [0, 0, 0, 3.0, -5.0]
    assert compression("int8").compress(np.zeros(2), [2]).tolist() == [0, 0]
    assert np.isfinite(compression("fp16").compress(np.array([1e9]), [1])).all()


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40))
def test_int8_errs_by_at_most_half_a_level(values: list[float]) -> None:
    update = np.array(values)
    error = np.abs(compression("int8").compress(update, [len(values)]) - update).max()
    assert error <= np.abs(update).max() / 254 * (1 + 1e-9)
