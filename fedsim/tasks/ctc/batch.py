"""A batch of the recognition task: waveforms and what is said in them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fedsim.determinism import tensor
from fedsim.tasks.base import Outcome
from fedsim.tasks.ctc.finetune import padded
from fedsim.tasks.ctc.transcripts import BLANK, Vocabulary
from fedsim.tasks.ctc.usable import hurried, need_one, unfit
from fedsim.tasks.speech import masks
from fedsim.tasks.speech.corpus import Corpus, load
from fedsim.tasks.speech.data import SpeechData
from fedsim.tasks.speech.models import configuration, frames
from fedsim.units import SAMPLES_PER_S

if TYPE_CHECKING:
    from fedsim.tasks.ctc.task import Ctc


@dataclass(frozen=True)
class Batch:
    """Transcribed utterances.

    Attributes:
        waves: float32[batch, samples], normalised and padded.
        attention: bool[batch, samples], where there is speech; None if nothing is padded.
        lengths: int64[batch], samples of each utterance.
        masked: bool[batch, frames], what is hidden in training; None in evaluation.
        frames: int64[batch], frames of each utterance in training.
        labels: the numbers of the characters of each.
        texts: the same as text.
        vocabulary: what the numbers mean.
    """

    waves: torch.Tensor
    attention: torch.Tensor | None
    lengths: NDArray[np.int64]
    masked: NDArray[np.bool_] | None
    frames: NDArray[np.int64]
    labels: list[list[int]]
    texts: list[str]
    vocabulary: Vocabulary


@lru_cache(maxsize=2)
def vocabulary(corpus: Corpus) -> Vocabulary:
    """The characters of the training transcripts of a corpus."""
    speech = load(corpus)
    return Vocabulary.of(speech.words(u) for u in speech.of_split("train").tolist())


def usable(task: Ctc, data: SpeechData, utterances: NDArray[np.int64], training: bool) -> NDArray[np.int64]:
    """Those of the utterances that are transcribed and, in training, neither too long nor too hurried."""
    reasons = _reasons(task, data, utterances, task.crop_seconds if training else math.inf)
    return np.array([u for u, why in zip(utterances.tolist(), reasons, strict=True) if why is None], np.int64)


def make(
    task: Ctc, data: SpeechData, utterances: NDArray[np.int64], draw: np.random.Generator, training: bool
) -> Batch | None:
    """A batch of those of the utterances that are usable; None if none is."""
    config, letters, speech = configuration(task.model), vocabulary(task.corpus), data.corpus
    chosen = usable(task, data, utterances, training).tolist()
    texts = [speech.words(utterance) for utterance in chosen]
    if not chosen:
        return None
    waves, attention, lengths = padded(speech, chosen, "cpu")
    count = np.array([frames(config, int(n)) for n in lengths], np.int64)
    masked = None
    if training:
        width = frames(config, waves.shape[1])
        masked = np.zeros((len(chosen), width), bool)
        if task.mask_probability > 0:
            masked = masks.spans(count, width, task.mask_probability, config.mask_time_length, draw)
    return Batch(
        waves, attention, lengths, masked, count, [letters.encode(text) for text in texts], texts, letters
    )


def check(task: Ctc, data: SpeechData) -> None:
    """Refuse speech of which nothing can be trained on, or nothing of a held-out split be recognised.

    Raises:
        CorpusError: with the reasons.
    """
    need_one("train", _reasons(task, data, data.corpus.of_split("train"), task.crop_seconds))
    for split in task.splits:
        need_one(split, _reasons(task, data, np.concatenate(data.held_out(split)), math.inf))


def _reasons(
    task: Ctc, data: SpeechData, utterances: NDArray[np.int64], longest_s: float
) -> Iterator[str | None]:
    """Why each utterance cannot be used; None for one that can."""
    config, letters, speech = configuration(task.model), vocabulary(task.corpus), data.corpus
    for utterance in utterances.tolist():
        text, samples = speech.words(utterance), int(speech.samples[utterance])
        yield unfit(text, samples / SAMPLES_PER_S, longest_s) or hurried(
            letters.encode(text), frames(config, samples)
        )


def loss(model: Any, batch: Batch, evaluating: bool) -> Outcome:
    """The CTC loss; when evaluating, also the errors of greedy decoding."""
    device = next(model.parameters()).device
    attention = None if batch.attention is None else batch.attention.to(device)
    masked = None if batch.masked is None else tensor(batch.masked, device)
    if evaluating:
        likely, frames = model.hear(batch.waves.to(device), attention, batch.lengths)
    else:
        likely, frames = model(batch.waves.to(device), attention, masked), batch.frames
    each = nn.functional.ctc_loss(
        likely.transpose(0, 1),
        torch.tensor([n for row in batch.labels for n in row], device=device),
        torch.tensor(frames.tolist()),
        torch.tensor([len(row) for row in batch.labels]),
        blank=BLANK,
        reduction="none",
        zero_infinity=True,
    ) / torch.tensor([max(1, len(row)) for row in batch.labels], device=device)
    sums: dict[str, Any] = {"loss": float(each.detach().sum()), "count": len(batch.labels)}
    if evaluating:
        sums |= _errors(batch, likely.argmax(dim=-1).cpu().numpy(), frames)
    return Outcome(each.mean(), sums)


def _errors(batch: Batch, best: NDArray[np.int64], frames: NDArray[np.int64]) -> dict[str, float]:
    import jiwer

    heard = [
        batch.vocabulary.decode(row[:count].tolist())
        for row, count in zip(best, frames.tolist(), strict=True)
    ]
    words, letters = jiwer.process_words(batch.texts, heard), jiwer.process_characters(batch.texts, heard)
    return {
        "word_errors": float(words.substitutions + words.deletions + words.insertions),
        "words": float(words.hits + words.substitutions + words.deletions),
        "errors": float(letters.substitutions + letters.deletions + letters.insertions),
        "characters": float(letters.hits + letters.substitutions + letters.deletions),
    }


def fake(config: Any, batch: int, samples: int) -> dict[str, torch.Tensor]:
    """Tensors of a batch's shapes, with a sentence of 80 characters for each waveform."""
    from fedsim.tasks.ctc.task import FAKE_CHARACTERS

    return {
        "waves": torch.empty(batch, samples),
        "masked": torch.empty(batch, frames(config, samples), dtype=torch.bool),
        "text": torch.empty(batch, FAKE_CHARACTERS, dtype=torch.int64),
    }


def fake_loss(likely: torch.Tensor, masked: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """The CTC loss of log-probabilities of such a batch."""
    batch, count = masked.shape
    ctc_loss: Any = nn.functional.ctc_loss
    loss: torch.Tensor = ctc_loss(
        likely.transpose(0, 1), text, [count] * batch, [text.shape[1]] * batch, reduction="sum"
    )
    return loss
