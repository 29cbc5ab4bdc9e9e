"""Aggregation against averages worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsim.learning import aggregate

UPDATES = np.array([[1.0, 2.0], [3.0, -2.0], [8.0, 0.0]])


def _run(name: str, examples: list[float], losses: list[float]) -> tuple[np.ndarray, np.ndarray]:
    rule = aggregate.make_rule(name, 2)
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
    rule = aggregate.make_rule("loss-weighted", len(losses))
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
    step, shares = aggregate.make_rule(name, 2).finish()
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
    ],
)
def test_faults(weights: np.ndarray, loss: float, fault: str | None) -> None:
    assert aggregate.fault(weights, 3, loss) == fault
