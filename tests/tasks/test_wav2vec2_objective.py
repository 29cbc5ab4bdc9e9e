"""The objective equals a plain numpy reference and transformers' own forward."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from federations import built

from fedsim.determinism import seeded
from fedsim.tasks.speech import masks, models
from fedsim.tasks.wav2vec2 import objective


def _reference(
    predicted: np.ndarray, targets: np.ndarray, negatives: np.ndarray, temperature: float
) -> tuple[list[float], list[bool]]:
    """Equation 3 of the wav2vec 2.0 paper, one frame and one distractor at a time."""

    def similarity(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / math.sqrt((a @ a) * (b @ b)))

    losses, right = [], []
    for t, row in enumerate(negatives):
        true = similarity(predicted[t], targets[t])
        others = [
            similarity(predicted[t], targets[j]) for j in row if not np.array_equal(targets[j], targets[t])
        ]
        partition = sum(math.exp(s / temperature) for s in [true, *others])
        losses.append(-math.log(math.exp(true / temperature) / partition))
        right.append(bool(others) and true > max(others))
    return losses, right


@pytest.mark.parametrize("seed", range(5))
def test_contrastive_loss_equals_an_independent_reference(seed: int) -> None:
    draw = np.random.default_rng(seed)
    frames, width, distractors = 17, 6, 9
    predicted = draw.normal(size=(frames, width))
    targets = draw.normal(size=(frames, width))
    targets[3] = targets[11] = targets[5]  # equal codevectors are no distractors
    negatives = draw.integers(0, frames, size=(frames, distractors))
    negatives[5] = [3, 11, 3, 11, 3, 11, 3, 11, 3]
    loss, right = objective.contrastive(
        torch.from_numpy(predicted).float(),
        torch.from_numpy(targets).float(),
        torch.from_numpy(negatives),
        0.1,
    )
    expected, truth = _reference(predicted, targets, negatives, 0.1)
    assert loss.numpy() == pytest.approx(expected, abs=2e-5)
    assert right.tolist() == truth
    assert loss[5] == 0
    assert not right[5]


def test_the_loss_of_a_blind_model_is_the_logarithm_of_the_choices() -> None:
    targets = torch.eye(8)
    predicted = torch.ones(4, 8)
    loss, right = objective.contrastive(
        predicted, targets[:4], torch.tensor([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]), 0.1
    )
    assert loss.numpy() == pytest.approx([math.log(4)] * 4, rel=1e-6)
    assert not right.any()


def test_perplexity_counts_the_codes_in_use() -> None:
    even = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]])
    assert float(objective.perplexity(even)) == pytest.approx(2 + 4)
    assert float(objective.perplexity(torch.eye(4)[:2])) == pytest.approx(2)


@pytest.mark.parametrize("padded", [False, True])
def test_agrees_with_transformers(padded: bool) -> None:
    tiny = built("wav2vec2-tiny", 3).eval()
    draw = np.random.default_rng(4)
    waves = torch.from_numpy(draw.normal(size=(3, 16_000)).astype(np.float32))
    samples = np.array([16_000, 12_000, 9_000]) if padded else np.full(3, 16_000)
    for row, count in zip(waves, samples, strict=True):
        row[count:] = 0
    valid = np.array([models.frames(tiny.config, int(count)) for count in samples])
    frames = models.frames(tiny.config, 16_000)
    masked = masks.spans(valid, frames, 0.5, 6, draw)
    listed = masks.negatives(masked, 30, draw)
    flat = np.flatnonzero(masked)
    full = np.zeros((3 * frames, 30), np.int64)
    full[flat] = flat[listed]
    attention = torch.from_numpy(np.arange(16_000)[None] < samples[:, None]) if padded else None
    with torch.no_grad():
        theirs = tiny(
            waves,
            attention_mask=attention,
            mask_time_indices=torch.from_numpy(masked),
            sampled_negative_indices=torch.from_numpy(full.reshape(3, frames, 30)),
        )
        ours = objective.evaluate_objective(
            tiny,
            waves,
            torch.from_numpy(samples) if padded else None,
            torch.from_numpy(masked),
            torch.from_numpy(listed),
            1.0,
        )
    assert ours.count == masked.sum()
    assert float(ours.contrastive) == pytest.approx(float(theirs.contrastive_loss), rel=2e-5)
    assert float(ours.diversity) * ours.count == pytest.approx(float(theirs.diversity_loss), rel=2e-5)
    assert float(ours.loss(0.1)) * ours.count == pytest.approx(float(theirs.loss), rel=2e-5)
    assert ours.codes.sum() == 2 * ours.count


def test_sampling_agrees_with_transformers_quantizer() -> None:
    quantizer = built("wav2vec2-tiny", 3).quantizer.train()
    features = torch.from_numpy(np.random.default_rng(0).normal(size=(40, 64)).astype(np.float32))
    quantizer.temperature = 0.7
    with torch.no_grad(), seeded(11):
        vectors, spread, _ = objective.quantize(quantizer, features, 0.7, sample=True)
    with torch.no_grad(), seeded(11):
        theirs, perplexity = quantizer(features[None])
    assert torch.allclose(vectors, theirs[0], atol=1e-6)
    assert float(spread) == pytest.approx(float(perplexity), rel=1e-5)
