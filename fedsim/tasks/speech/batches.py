"""From utterances to padded waveforms: crops, normalisation, held-out batches, all from given streams.

Lengths are rounded up to half a second. On a CPU every new shape costs the convolution library a
new primitive, in time and in memory that it never gives back; a handful of shapes does not.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim import rng
from fedsim.tasks.speech.corpus.store import Corpus
from fedsim.tasks.speech.quality import degrade
from fedsim.units import SAMPLES_PER_S

GRAIN_SAMPLES = SAMPLES_PER_S // 2
EVALUATION_BATCH = 8
LONGEST_S = 60
"""Of speech that is recognised at once; see :meth:`fedsim.tasks.ctc.recogniser.Recogniser.hear`."""
EVALUATION_SECONDS = 2 * LONGEST_S
"""Of a padded evaluation batch at most, so that what is longer than ``LONGEST_S`` is alone in its batch."""


def grain(seconds: float) -> int:
    """Samples of ``seconds`` rounded up to half a second."""
    return max(1, math.ceil(seconds * SAMPLES_PER_S / GRAIN_SAMPLES - 1e-9)) * GRAIN_SAMPLES


def padded(samples: NDArray[np.float64], seconds: float) -> NDArray[np.float64]:
    """Lengths cut to ``seconds`` and rounded up to half a second."""
    grains = np.ceil(np.minimum(samples, seconds * SAMPLES_PER_S) / GRAIN_SAMPLES)
    return np.asarray(np.maximum(grains, 1) * GRAIN_SAMPLES)


def normalise(wave: NDArray[Any]) -> NDArray[np.float32]:
    """Mean 0 and variance 1; silence stays 0."""
    centred = wave.astype(np.float32)
    centred -= centred.mean(dtype=np.float64)
    return np.asarray(centred / np.float32(np.sqrt(np.mean(centred**2, dtype=np.float64)) + 1e-3), np.float32)


def waveforms(
    corpus: Corpus,
    utterances: NDArray[np.int64],
    crop_samples: int,
    draw: np.random.Generator,
    kinds: NDArray[np.int64] | None = None,
    random_crop: bool = True,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Cut, normalise and pad some utterances.

    Args:
        corpus: the speech.
        utterances: int64[batch].
        crop_samples: longest piece, a multiple of half a second.
        draw: for the places of the crops, and faults.
        kinds: int64[utterances of the corpus], the recording quality of each; None: as recorded.
        random_crop: cut a long utterance at a random place, or else at its beginning.

    Returns:
        float32[batch, samples], each with mean 0 and variance 1, zero-padded; int64[batch], their lengths.
    """
    lengths = np.minimum(corpus.samples[utterances], crop_samples)
    width = grain(float(lengths.max()) / SAMPLES_PER_S)
    waves = np.zeros((len(utterances), width), np.float32)
    for row, utterance in enumerate(utterances.tolist()):
        wave, length = corpus.waveform(utterance), int(lengths[row])
        start = int(draw.integers(len(wave) - length + 1)) if random_crop else 0
        piece = wave[start : start + length].astype(np.float32)
        if kinds is not None and kinds[utterance]:
            piece = degrade(piece, int(kinds[utterance]), draw)
        waves[row, :length] = normalise(piece)
    return waves, lengths


def held_out(
    corpus: Corpus, split: str, evaluation_seconds: float, crop_seconds: float
) -> list[NDArray[np.int64]]:
    """The utterances of each evaluation batch of a held-out split, the same in every run.

    Utterances are taken in a fixed random order until ``evaluation_seconds`` are reached, and
    batched by length. A crop of ``inf`` takes whole utterances.
    """
    turn = rng.generator(0, "evaluation", split).permutation(corpus.of_split(split))
    lengths = corpus.samples[turn]
    if math.isfinite(crop_seconds):
        lengths = np.minimum(lengths, grain(crop_seconds))
    enough = int(np.searchsorted(np.cumsum(lengths), evaluation_seconds * SAMPLES_PER_S)) + 1
    longest_first = np.argsort(-lengths[:enough], kind="stable")
    return by_length(turn[longest_first], lengths[longest_first])


def by_length(utterances: NDArray[np.int64], lengths: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Cut utterances, the longest first, into evaluation batches of bounded size.

    Args:
        utterances: int64[n].
        lengths: int64[n], their samples, in descending order.

    Returns:
        Batches of up to ``EVALUATION_BATCH``, fewer where they would be padded to more than
        ``EVALUATION_SECONDS`` in all, and at least one.
    """
    found, start = [], 0
    while start < len(utterances):
        stop = start + evaluated_at_once(int(lengths[start]) / SAMPLES_PER_S)
        found.append(utterances[start:stop])
        start = stop
    return found


def evaluated_at_once(seconds: float) -> int:
    """How many utterances an evaluation batch holds whose longest lasts so many seconds."""
    return min(EVALUATION_BATCH, max(1, EVALUATION_SECONDS * SAMPLES_PER_S // grain(seconds)))
