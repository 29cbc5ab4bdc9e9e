"""Bad clients: who they are, what they send, what a learner does with it, and which rule survives it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from federations import LIES as KINDS_OF_LIES
from federations import changed, federation, lies
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedsim import checks
from fedsim.errors import ScenarioError
from fedsim.learning import Federation, Learning, RoundLearning, make_learner
from fedsim.learning.accumulator import Accumulator
from fedsim.learning.byzantine import ByzantineClients
from fedsim.learning.learner import FederatedLearner
from fedsim.learning.local import Trained, TrainJob
from fedsim.learning.update_validation import UpdateValidation
from fedsim.tasks.speech.corpus import Espeak

PASSING = ("noise", "sign-flip")


def _round(learner: FederatedLearner, index: int, clients: list[int]) -> RoundLearning:
    count = len(clients)
    return learner.train(index, np.array(clients), np.full(count, index))


@given(st.integers(0, 2**40), st.floats(0.01, 1.0), st.integers(1, 300), st.integers(0, 300))
def test_a_client_more_makes_nobody_else_bad(seed: int, share: float, fleet: int, more: int) -> None:
    byzantine = ByzantineClients(lies(share, "nan"), seed, 1)
    few, many = byzantine.among(np.arange(fleet)), byzantine.among(np.arange(fleet + more))
    assert np.array_equal(few, many[:fleet])
    order = np.random.default_rng(0).permutation(fleet)
    assert np.array_equal(byzantine.among(order), few[order])


def test_as_many_are_bad_as_was_asked_for() -> None:
    bad = ByzantineClients(lies(0.2, "nan"), 3, 1).among(np.arange(100_000)).sum()
    assert abs(bad - 20_000) < 4 * np.sqrt(100_000 * 0.2 * 0.8)
    assert ByzantineClients(lies(1.0, "nan"), 3, 1).among(np.arange(99)).all()
    assert not ByzantineClients(None, 3, 1).among(np.arange(99)).any()


def test_garbage_that_passes_by_hand() -> None:
    base = np.array([1.0, 2.0, 3.0, 9.0], np.float32)  # three weights, and state that travels with them
    honest = np.array([4.0, 6.0, 3.0, 5.0], np.float32)  # 5 away
    flipped = ByzantineClients(lies(0.2, "sign-flip", 2.0), 1, 3).trained(honest, base, 7, 0, 0)
    assert flipped.tolist() == [-5.0, -6.0, 3.0, 5.0]
    noise = ByzantineClients(lies(0.2, "noise", 2.0), 1, 3)
    sent = noise.trained(honest, base, 7, 0, 0)
    assert np.linalg.norm(sent[:3] - base[:3]) == pytest.approx(10.0, rel=1e-6)
    assert sent[3] == 5.0
    assert np.array_equal(sent, noise.trained(honest, base, 7, 0, 0))
    for other in ((8, 0, 0), (7, 1, 0), (7, 0, 1)):  # another client, round, delivery
        assert not np.array_equal(sent, noise.trained(honest, base, *other))


@pytest.mark.parametrize("kind", KINDS_OF_LIES)
def test_what_is_worthless_is_refused_and_the_rest_let_in(kind: str) -> None:
    base = np.random.default_rng(0).normal(size=100).astype(np.float32)
    byzantine, validation = (
        ByzantineClients(lies(0.2, kind), 1, 100),
        UpdateValidation(federation(), [100], 100, 50.0),
    )
    sent = byzantine.trained(base + np.float32(0.01), base, 7, 0, 0)
    assert validation.offer(sent, base, 1.0, 1.0, 0) is (kind in PASSING)
    assert (byzantine.untrained(base) is None) is (kind in PASSING)


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"share": 0.0, "kind": "nan"}, "learning.byzantine.share"),
        ({"share": 1.5, "kind": "nan"}, "learning.byzantine.share"),
        ({"share": 0.5, "kind": "evil"}, "learning.byzantine.kind"),
        ({"share": 0.5, "kind": "noise", "scale": float("nan")}, "learning.byzantine.scale"),
    ],
)
def test_impossible_bad_clients_name_their_key(fields: dict[str, Any], key: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        checks.check(Learning, {"byzantine": fields}, key="learning", error=ScenarioError)
    assert caught.value.key == key


@pytest.mark.parametrize("compression", ["none", "top-k"])
def test_a_federation_with_rejected_clients_is_one_without_them(small: Federation, compression: str) -> None:
    clean = changed(small, compression=compression, clients_per_round=6, aggregate="fedadam")
    spoilt = changed(clean, byzantine=lies(0.5, "nan"))
    with make_learner(clean, 6) as without, make_learner(spoilt, 6) as learner:
        bad = learner._byzantine.among(np.arange(6))
        assert 0 < bad.sum() < 6
        for r in range(2):
            outcome = _round(learner, r, list(range(6)))
            assert np.array_equal(outcome.accepted, ~bad)
            assert np.array_equal(np.isfinite(outcome.loss), ~bad)  # nobody is trained for nothing
            assert outcome.weight.sum() == pytest.approx(1.0)
            _round(without, r, np.flatnonzero(~bad).tolist())
        assert np.array_equal(learner.weights(), without.weights())


def test_a_flipped_sign_goes_exactly_backwards(small: Federation) -> None:
    spec = changed(small, byzantine=lies(1.0, "sign-flip"))
    with make_learner(small, 5) as ahead, make_learner(spec, 5) as back:
        begin = ahead.weights().astype(np.float64)
        for learner in (ahead, back):
            assert _round(learner, 0, [2]).accepted.all()
        there, here = ahead.weights() - begin, back.weights() - begin
        assert np.abs(there).max() > 1e-3
        assert np.abs(there + here).max() < 1e-6


def test_an_update_beyond_the_bound_is_rejected(small: Federation) -> None:
    with make_learner(small, 5) as learner:
        begin = learner.weights().astype(np.float64)
        _round(learner, 0, [2])
        share = np.linalg.norm(learner.weights() - begin) / np.linalg.norm(begin)
    assert share < small.learning.largest_update / 100  # what really is trained stays far below
    for bound, taken in ((share * 1.01, True), (share * 0.99, False)):
        with make_learner(changed(small, largest_update=bound), 5) as learner:
            assert _round(learner, 0, [2]).accepted.tolist() == [taken]


class _Instant:
    """A pool that trains nobody: every client sends the same weights."""

    def __init__(self, versions: int, size: int) -> None:
        self.versions = np.zeros((versions, size), np.float32)

    def run(self, jobs: list[TrainJob]) -> Iterator[tuple[Trained, NDArray[np.float32]]]:
        for job in jobs:
            report = Trained(
                Accumulator({"loss": 1.0 + job.client, "count": 1, "correct": 1, "codes": np.ones((2, 64))}),
                {},
                1,
            )
            yield report, self.versions[job.version]

    def close(self) -> None:
        """Nothing to end."""


def test_a_learner_keeps_nothing_of_an_update_but_a_few_numbers(small: Federation) -> None:
    spec = changed(small, clients=10_000, clients_per_round=10_000, evaluate_every=9, rounds=9)
    learner = make_learner(spec, 5, make_pool=lambda _s, _k, versions, size, _w: _Instant(versions, size))

    def peak_bytes(clients: int, index: int) -> int:
        tracemalloc.start()
        try:
            _round(learner, index, list(range(clients)))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak_bytes(1, 0)
    few, many = peak_bytes(20, 1), peak_bytes(220, 2)
    assert (many - few) / 200 < 800  # a accumulator alone takes more than a kilobyte
    learner.close()


FIVE = federation(
    clients=5,
    rounds=24,
    corpus=Espeak(speakers=14, minutes=6),
    parts=5,
    clients_per_round=5,
    evaluate_every=4,
    local_steps=8,
    learning_rate=3e-3,
    warmup_rounds=2,
    crop_seconds=1.0,
    evaluation_seconds=20.0,
)
LIES = lies(0.2, "noise", 10.0)
ONE_LIAR = 10  # a seed with which one of the five clients draws the lot of a bad one


def _trained(spec: Federation) -> tuple[NDArray[np.float64], list[dict[str, float]]]:
    """What all rounds of five clients change in the model, and the validation metrics on the way."""
    with make_learner(spec, ONE_LIAR) as learner:
        assert learner._byzantine.among(np.arange(5)).sum() == (spec.learning.byzantine is not None)
        begin, course = learner.weights().astype(np.float64), [learner.initial_metrics()]
        for r in range(spec.rounds):
            outcome = _round(learner, r, list(range(spec.clients)))
            assert outcome.accepted.all()
            course.append(outcome.metrics)
        moved = learner.weights() - begin
    assert np.isfinite(moved).all()
    found = [{name: value for name, split, value in one if split == "validation"} for one in course]
    return moved, [one for one in found if one]


def test_one_round_with_a_liar_throws_a_mean_far_off_and_a_trimmed_mean_little() -> None:
    few = changed(FIVE, rounds=1, local_steps=2, batch_size=2, corpus=Espeak(speakers=9, minutes=2))
    honest, _ = _trained(few)
    mean, _ = _trained(changed(few, byzantine=LIES))
    trimmed, _ = _trained(changed(few, byzantine=LIES, aggregate="trimmed-mean", trim=0.2))
    length = np.linalg.norm(honest)
    # a fifth of noise that is ten times as long as an update, which is longer than a mean of updates
    assert np.linalg.norm(mean - honest) > 1.5 * length
    assert np.linalg.norm(trimmed - honest) < 0.75 * length
    assert trimmed @ honest > 0.75 * length * np.linalg.norm(trimmed)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_trimmed_mean_learns_among_liars_and_a_mean_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    robust = changed(FIVE, byzantine=LIES, aggregate="trimmed-mean", trim=0.2)
    course = {
        "honest, fedavg": _trained(FIVE)[1],
        "one liar of five, fedavg": _trained(changed(FIVE, byzantine=LIES))[1],
        "one liar of five, trimmed-mean": _trained(robust)[1],
    }
    with capsys.disabled():
        print("\n\nValidation loss every four rounds")
        for name, found in course.items():
            print(f"  {name:<31}", *(f"{one['loss']:.3f}" for one in found))
    # Within the first four rounds all come to the plateau of a model that does not look at the speech yet
    # (how often each target occurs is all that it knows); what counts is who gets off it.
    honest, mean, trimmed = (found[1]["loss"] - found[-1]["loss"] for found in course.values())
    assert honest > 0.3
    assert mean < 0.1 * honest
    assert trimmed > 0.75 * honest
