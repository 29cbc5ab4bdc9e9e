"""From utterances to padded batches: order, crops, normalisation, masks, all from given streams.

Lengths are rounded up to half a second. On a CPU every new shape costs the convolution library a
new primitive, in time and in memory that it never gives back; a handful of shapes does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim import rng
from fedsim.learning import masks
from fedsim.learning.corpus.store import SAMPLE_RATE_HZ, Corpus
from fedsim.learning.model import frames
from fedsim.learning.quality import degrade
from fedsim.learning.spec import LearnerSpec

GRAIN_SAMPLES = SAMPLE_RATE_HZ // 2
EVALUATION_BATCH = 8


@dataclass(frozen=True)
class Masking:
    """The objective's choices that shape a batch: the scenario's, else the preset's."""

    probability: float
    span_frames: int
    negatives: int
    diversity_weight: float

    @staticmethod
    def of(spec: LearnerSpec, config: Any) -> Masking:
        """Fill what ``spec`` leaves open from the model's configuration."""

        def choose(value: Any, default: Any) -> Any:
            return default if value is None else value

        return Masking(
            float(choose(spec.mask_probability, config.mask_time_prob)),
            int(choose(spec.mask_span_frames, config.mask_time_length)),
            int(choose(spec.negatives, config.num_negatives)),
            float(choose(spec.diversity_weight, config.diversity_loss_weight)),
        )


@dataclass(frozen=True)
class Batch:
    """A padded batch.

    Attributes:
        waves: float32[batch, samples], each utterance with mean 0 and variance 1, zero-padded.
        valid_samples: int64[batch], or None if no utterance is padded.
        masked: bool[batch, frames].
        negatives: int64[masked frames, distractors].
    """

    waves: NDArray[np.float32]
    valid_samples: NDArray[np.int64] | None
    masked: NDArray[np.bool_]
    negatives: NDArray[np.int64]


def grain(seconds: float) -> int:
    """Samples of ``seconds`` rounded up to half a second."""
    return max(1, math.ceil(seconds * SAMPLE_RATE_HZ / GRAIN_SAMPLES - 1e-9)) * GRAIN_SAMPLES


def normalise(wave: NDArray[Any]) -> NDArray[np.float32]:
    """Mean 0 and variance 1; silence stays 0."""
    centred = wave.astype(np.float32)
    centred -= centred.mean(dtype=np.float64)
    return np.asarray(centred / np.float32(np.sqrt(np.mean(centred**2, dtype=np.float64)) + 1e-3), np.float32)


def make(
    corpus: Corpus,
    utterances: NDArray[np.int64],
    crop_samples: int,
    config: Any,
    masking: Masking,
    draw: np.random.Generator,
    kinds: NDArray[np.int64] | None = None,
    random_crop: bool = True,
) -> Batch:
    """Cut, normalise, pad and mask some utterances.

    Args:
        corpus: the speech.
        utterances: int64[batch].
        crop_samples: longest piece, a multiple of half a second.
        config: the model's, for its convolutions.
        masking: the objective's choices.
        draw: for the places of the crops, faults, masks and negatives.
        kinds: int64[utterances of the corpus], the recording quality of each; None: as recorded.
        random_crop: cut a long utterance at a random place, or else at its beginning.
    """
    lengths = np.minimum(corpus.samples[utterances], crop_samples)
    width = grain(float(lengths.max()) / SAMPLE_RATE_HZ)
    waves = np.zeros((len(utterances), width), np.float32)
    for row, utterance in enumerate(utterances.tolist()):
        wave, length = corpus.waveform(utterance), int(lengths[row])
        start = int(draw.integers(len(wave) - length + 1)) if random_crop else 0
        piece = wave[start : start + length].astype(np.float32)
        if kinds is not None and kinds[utterance]:
            piece = degrade(piece, int(kinds[utterance]), draw)
        waves[row, :length] = normalise(piece)
    valid = np.array([frames(config, int(length)) for length in lengths], dtype=np.int64)
    masked = masks.spans(valid, frames(config, width), masking.probability, masking.span_frames, draw)
    return Batch(
        waves,
        None if bool((lengths == width).all()) else lengths,
        masked,
        masks.negatives(masked, masking.negatives, draw),
    )


def order(
    utterances: NDArray[np.int64], spec: LearnerSpec, draw: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """The utterances of each step: passes in a new random order each, cut into batches.

    With ``local_epochs`` there are as many steps as the passes need, the last one smaller if they
    do not divide; else ``local_steps`` full batches, going round as often as needed.
    """
    if spec.local_epochs is None:
        total = spec.local_steps * spec.batch_size
    else:
        total = max(1, round(spec.local_epochs * len(utterances)))
    passes = [draw.permutation(utterances) for _ in range(math.ceil(total / len(utterances)))]
    sequence = np.concatenate(passes)[:total]
    for start in range(0, total, spec.batch_size):
        yield sequence[start : start + spec.batch_size]


def held_out(corpus: Corpus, split: str, spec: LearnerSpec) -> list[NDArray[np.int64]]:
    """The utterances of each evaluation batch of a held-out split, the same in every run.

    Utterances are taken in a fixed random order until ``spec.evaluation_seconds`` are reached, and
    batched by length so that little is padded.
    """
    turn = rng.generator(0, "evaluation", split).permutation(corpus.of_split(split))
    lengths = np.minimum(corpus.samples[turn], grain(spec.crop_seconds))
    enough = int(np.searchsorted(np.cumsum(lengths), spec.evaluation_seconds * SAMPLE_RATE_HZ)) + 1
    kept = turn[:enough][np.argsort(-lengths[:enough], kind="stable")]
    return [kept[start : start + EVALUATION_BATCH] for start in range(0, len(kept), EVALUATION_BATCH)]
