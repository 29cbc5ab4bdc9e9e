"""Masks and negatives: where they may lie, how many there are, and that they are unbiased."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.tasks.speech import masks


@settings(max_examples=60, deadline=None)
@given(
    valid=st.lists(st.integers(1, 80), min_size=1, max_size=5),
    length=st.integers(2, 10),
    probability=st.floats(0.05, 1.0),
    seed=st.integers(0, 2**31),
)
def test_spans_stay_inside_speech_and_are_whole(
    valid: list[int], length: int, probability: float, seed: int
) -> None:
    masked = masks.spans(np.array(valid), 80, probability, length, np.random.default_rng(seed))
    for row, count in zip(masked, valid, strict=True):
        assert not row[count:].any()
        assert row.any() == (count >= length)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(int), [0]])))
        assert all(stop - start >= length for start, stop in edges.reshape(-1, 2))
        assert row.sum() <= length * (int(probability * count / length) + 1)


def test_the_masked_share_is_that_of_overlapping_spans() -> None:
    # n = p T / L spans at distinct starts among T - L + 1: an inner frame stays bare with
    # probability C(S - L, n) / C(S, n), the product of (S - L - i) / (S - i).
    frames, length, probability = 240, 6, 0.5
    spans, starts = 20, 240 - 6 + 1
    bare = np.prod([(starts - length - i) / (starts - i) for i in range(spans)])
    masked = masks.spans(np.full(4000, frames), frames, probability, length, np.random.default_rng(1))
    assert abs(masked[:, 20:-20].mean() - (1 - bare)) < 0.004
    assert np.ptp(masked[:, 20:-20].mean(axis=0)) < 0.07


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.sampled_from([0, 2, 3, 7]), min_size=1, max_size=5),
    wanted=st.integers(1, 6),
    seed=st.integers(0, 2**31),
)
def test_negatives_are_other_masked_frames_of_the_same_utterance(
    counts: list[int], wanted: int, seed: int
) -> None:
    masked = np.zeros((len(counts), 9), bool)
    for row, count in zip(masked, counts, strict=True):
        row[:count] = True
    drawn = masks.negatives(masked, wanted, np.random.default_rng(seed))
    owner = np.repeat(np.arange(len(counts)), counts)
    assert drawn.shape == (sum(counts), wanted)
    assert (owner[drawn] == owner[:, None]).all()
    assert (drawn != np.arange(len(owner))[:, None]).all()


def test_negatives_are_uniform() -> None:
    masked = np.zeros((1, 5), bool)
    masked[0, [0, 2, 3, 4]] = True
    drawn = masks.negatives(masked, 30_000, np.random.default_rng(2))
    for own, row in enumerate(drawn):
        shares = np.bincount(row, minlength=4) / 30_000
        assert shares[own] == 0
        assert np.abs(np.delete(shares, own) - 1 / 3).max() < 0.012
