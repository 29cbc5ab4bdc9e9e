"""The downstream task: speech recognition with CTC on top of a pretrained encoder.

As in section 4.2 of Gao et al. (2022): three linear layers on top, the whole network trained with
CTC loss, greedy decoding, word error rate on test speakers whom neither pretraining nor
fine-tuning has heard. Characters are the units. The result is a pure function of the weights, the
corpus, the settings and the seed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fedsim import files, rng
from fedsim.determinism import one_thread, seeded, tensor
from fedsim.tasks.base import Metrics
from fedsim.tasks.ctc.finetuning import Finetuning
from fedsim.tasks.ctc.recogniser import Recogniser
from fedsim.tasks.ctc.transcripts import BLANK, Vocabulary
from fedsim.tasks.ctc.usable import hurried, need_one, unfit
from fedsim.tasks.speech import batches, masks
from fedsim.tasks.speech.corpus.store import Corpus
from fedsim.tasks.speech.models import frames as frames_of
from fedsim.units import SAMPLES_PER_S

_CLIP_NORM = 5.0
_BUCKET = 8


@dataclass(frozen=True)
class Recognition:
    """What fine-tuning came to.

    Attributes:
        wer, cer: word and character error rate over all test utterances, by jiwer.
        loss: mean CTC loss of the last tenth of the steps, nats a label.
        pairs: (what was said, what was recognised) of each test utterance.
        speakers: who said it.
        utterances: how many transcribed utterances were trained on.
    """

    wer: float
    cer: float
    loss: float
    pairs: tuple[tuple[str, str], ...]
    speakers: tuple[str, ...]
    utterances: int

    def metrics(self) -> Metrics:
        """Error rates as rows of ``convergence.parquet``."""
        return [("wer", "test", self.wer), ("cer", "test", self.cer)]

    def save(self, file: Path) -> None:
        """Write what was said and recognised as JSON, whole or not at all: [speaker, said, recognised]."""
        rows = [[who, *pair] for who, pair in zip(self.speakers, self.pairs, strict=True)]
        lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        files.write_text(file, f"[\n{lines}\n]\n")


@dataclass(frozen=True)
class Chosen:
    """What is fine-tuned and tested on.

    Attributes:
        train, test: numbers of utterances.
        texts: the normalised transcript of every utterance of the corpus.
        vocabulary: the characters of those trained on.
    """

    train: list[int]
    test: list[int]
    texts: list[str]
    vocabulary: Vocabulary


def choose(config: Any, spec: Finetuning, speech: Corpus) -> Chosen:
    """Choose transcribed utterances of a corpus for fine-tuning a model of this configuration.

    Raises:
        CorpusError: if there is none to train or to test on.
    """
    texts = [speech.words(u) for u in range(len(speech))]
    test = _take(speech, "test", texts, spec.test_minutes, np.inf)
    train = _take(speech, "train", texts, spec.minutes, spec.longest_seconds)
    vocabulary = Vocabulary.of(texts[u] for u in train)
    reasons = [hurried(vocabulary.encode(texts[u]), frames_of(config, int(speech.samples[u]))) for u in train]
    need_one("train", reasons)
    train = [u for u, reason in zip(train, reasons, strict=True) if reason is None]
    return Chosen(train, test, texts, vocabulary)


def recognise(encoder: Any, spec: Finetuning, speech: Corpus, seed: int, device: str = "cpu") -> Recognition:
    """Fine-tune a pretrained encoder and test it.

    Args:
        encoder: a ``Wav2Vec2Model`` of transformers; it is changed.
        spec: how to fine-tune.
        speech: with transcripts, and a training and a test split.
        seed: of the run.
        device: ``cpu`` or ``cuda``.

    Raises:
        CorpusError: if there is no transcribed speech to train or test on.
    """
    chosen = choose(encoder.config, spec, speech)
    train, test, texts, vocabulary = chosen.train, chosen.test, chosen.texts, chosen.vocabulary
    with one_thread(), seeded(rng.key(seed, "finetune"), device):
        net = Recogniser(encoder, spec.head_size, len(vocabulary)).to(device)
        loss = _train(net, np.array(train), speech, texts, vocabulary, spec, seed, device)
        heard = list(_recognise(net, test, speech, vocabulary, device))
    pairs = [(texts[u], said) for u, said in heard]
    wer, cer = error_rates(pairs)
    speakers = tuple(speech.speaker[u] for u, _ in heard)
    return Recognition(wer, cer, loss, tuple(pairs), speakers, len(train))


def error_rates(pairs: list[tuple[str, str]]) -> tuple[float, float]:
    """Word and character error rate of (said, recognised) pairs, by jiwer, over all of them."""
    import jiwer

    said, heard = [a for a, _ in pairs], [b for _, b in pairs]
    return float(jiwer.wer(said, heard)), float(jiwer.cer(said, heard))


def _take(speech: Corpus, split: str, texts: list[str], minutes: float, longest_s: float) -> list[int]:
    """Transcribed utterances of a split in a fixed random order, until ``minutes`` are reached."""
    members = rng.generator(0, "transcribed", split).permutation(speech.of_split(split))
    taken, seconds = [], 0.0
    reasons = []
    for utterance in members.tolist():
        length = float(speech.samples[utterance]) / SAMPLES_PER_S
        reasons.append(unfit(texts[utterance], length, longest_s))
        if reasons[-1] is None and seconds < 60 * minutes:
            taken.append(utterance)
            seconds += length
    need_one(split, reasons)
    return taken


def padded(
    speech: Corpus, chosen: list[int], device: str
) -> tuple[torch.Tensor, torch.Tensor | None, NDArray[np.int64]]:
    """Whole utterances: waveforms float[batch, samples], where there is speech (None: all), lengths."""
    lengths = speech.samples[chosen]
    width = batches.grain(float(lengths.max()) / SAMPLES_PER_S)
    waves = np.zeros((len(chosen), width), np.float32)
    for row, utterance in enumerate(chosen):
        waves[row, : lengths[row]] = batches.normalise(speech.waveform(utterance))
    attention = None
    if bool((lengths < width).any()):
        attention = tensor(np.arange(width)[None, :] < lengths[:, None], device)
    return tensor(waves, device), attention, lengths


def _climb(step: int, steps: int) -> float:
    """Share of the peak rate: up over a tenth of the steps, level to the half, down to a twentieth."""
    share = (step + 1) / steps
    return min(1.0, share / 0.1, max(0.05, 2.0 - 2.0 * share))


def _train(
    net: Recogniser,
    train: NDArray[np.int64],
    speech: Corpus,
    texts: list[str],
    vocabulary: Vocabulary,
    spec: Finetuning,
    seed: int,
    device: str,
) -> float:
    config = net.encoder.config
    draw = rng.generator(seed, "finetune", "batches")
    optimizer = torch.optim.Adam(
        [
            {"params": net.encoder.parameters(), "peak": spec.learning_rate},
            {"params": net.head.parameters(), "peak": spec.head_rate},
        ],
        fused=True,
    )
    net.train()
    losses: list[float] = []
    for step, chosen in zip(
        range(spec.steps), _endless(train, speech.samples, spec.batch_size, draw), strict=False
    ):
        waves, attention, lengths = padded(speech, chosen, device)
        frames = np.array([frames_of(config, int(n)) for n in lengths])
        width = frames_of(config, waves.shape[1])
        hidden = np.zeros((len(chosen), width), bool)
        if spec.mask_probability > 0:
            hidden = masks.spans(frames, width, spec.mask_probability, config.mask_time_length, draw)
        masked = tensor(hidden, device)  # without one, transformers draws masks from global state
        labels = [vocabulary.encode(texts[u]) for u in chosen]
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * _climb(step, spec.steps)
        optimizer.zero_grad()
        loss = nn.functional.ctc_loss(
            net(waves, attention, masked).transpose(0, 1),
            torch.tensor([n for row in labels for n in row], device=device),
            torch.tensor(frames.tolist()),
            torch.tensor([len(row) for row in labels]),
            blank=BLANK,
            zero_infinity=True,
        )
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), _CLIP_NORM)
        optimizer.step()
        losses.append(float(loss.detach()))
    return float(np.mean(losses[-max(1, spec.steps // 10) :]))


def _endless(
    train: NDArray[np.int64], samples: NDArray[np.int64], size: int, draw: np.random.Generator
) -> Iterator[list[int]]:
    """Batches for ever: passes in a new random order each, batched by length within buckets.

    A bucket of ``_BUCKET`` batches is sorted by length before it is cut, so that little is padded,
    and its batches come in random order.
    """
    rest: list[int] = []
    while True:
        while len(rest) < _BUCKET * size:
            rest += draw.permutation(train).tolist()
        bucket = sorted(rest[: _BUCKET * size], key=lambda u: (int(samples[u]), u))
        rest = rest[_BUCKET * size :]
        for turn in draw.permutation(_BUCKET).tolist():
            yield bucket[turn * size : (turn + 1) * size]


def _recognise(
    net: Recogniser, test: list[int], speech: Corpus, vocabulary: Vocabulary, device: str
) -> Iterator[tuple[int, str]]:
    net.eval()
    ordered = np.array(sorted(test, key=lambda u: (-int(speech.samples[u]), u)))
    for batch in batches.by_length(ordered, speech.samples[ordered]):
        chosen = batch.tolist()
        with torch.no_grad():
            waves, attention, lengths = padded(speech, chosen, device)
            likely, frames = net.hear(waves, attention, lengths)
        best = likely.argmax(dim=-1).cpu().numpy()
        for row, utterance in enumerate(chosen):
            yield utterance, vocabulary.decode(best[row, : frames[row]].tolist())
