"""Training FLOPs of Figure 1's supervised models, layer by layer from their recipes.

The figure trains SpeechBrain's LibriSpeech recipes on V100 GPUs: a transformer
(``recipes/LibriSpeech/ASR/transformer/hparams/transformer.yaml``) and a CRDNN with CTC and attention
(``recipes/LibriSpeech/ASR/seq2seq/hparams/train_BPE_1000.yaml``). Widths, strides, epochs and hours
an epoch below are theirs. FLOPs count products of matrices and convolutions, a multiply-add as 2, and
a training step as three forward passes, as everywhere in fedsim. Per second of speech there are 100
frames of features; tokens a second follow from LibriSpeech's 9.4 million words in 960.9 hours.
"""

from __future__ import annotations

from dataclasses import dataclass

LIBRISPEECH_S = 960.9 * 3600
"""Training speech; Panayotov et al., Librispeech: an ASR corpus based on public domain audio books, 2015."""
MEAN_S = LIBRISPEECH_S / 281_241
"""Length of an utterance: the corpus has 281,241 of them."""
WORDS_PER_S = 9.4e6 / LIBRISPEECH_S
TRAINING = 3
"""A training step over a forward pass: the gradients of inputs and of weights cost as much each."""


@dataclass(frozen=True)
class Recipe:
    """A supervised recipe.

    Attributes:
        name: as Figure 1 calls it.
        forward_flops_per_s: FLOPs of a forward pass over a second of speech.
        epochs: passes over LibriSpeech.
        gpu_hours_an_epoch: on V100 GPUs, by the recipe's own README.
    """

    name: str
    forward_flops_per_s: float
    epochs: int
    gpu_hours_an_epoch: float

    @property
    def training_flops(self) -> float:
        """FLOPs of the whole training."""
        return TRAINING * self.forward_flops_per_s * LIBRISPEECH_S * self.epochs

    @property
    def gpu_hours(self) -> float:
        """V100 hours of the whole training, by the README."""
        return self.gpu_hours_an_epoch * self.epochs


def convolution(inputs: int, outputs: int, kernel: int, positions: float) -> float:
    """FLOPs of a square two-dimensional convolution that makes so many positions."""
    return 2.0 * inputs * outputs * kernel**2 * positions


def linear(inputs: int, outputs: int, rows: float) -> float:
    """FLOPs of a linear layer on so many rows."""
    return 2.0 * inputs * outputs * rows


def transformer() -> Recipe:
    """12 encoder and 6 decoder layers of 768, feed-forward 3072, 5,000 tokens; 4 V100 for 1 h 35 min."""
    width, inner, tokens = 768, 3072, 5000
    frames, spoken = 25.0, 1.2 * WORDS_PER_S  # a second; 1.2 pieces of 5,000 a word (estimated)
    flops = convolution(1, 128, 3, 50 * 40) + convolution(128, 256, 3, 25 * 20)
    flops += convolution(256, 512, 1, 25 * 20) + linear(512 * 20, width, frames)
    products = 2 * linear(width, 1, 1) * MEAN_S  # scores and values with each row attended to, a second of it
    flops += 12 * (_projections(width, inner, frames) + products * frames * frames)
    attended = products * spoken * (spoken / 2 + frames)
    flops += 6 * (_projections(width, inner, spoken) + linear(width, 2 * width, spoken + frames) + attended)
    flops += linear(width, tokens, frames + spoken)
    return Recipe("transformer", flops, 110, 4 * (1 + 35 / 60))


def _projections(width: int, inner: int, rows: float) -> float:
    """Query, key, value, output and the two layers of the feed-forward block."""
    return linear(width, 4 * width, rows) + linear(width, 2 * inner, rows)


def crdnn() -> Recipe:
    """Two blocks of two convolutions, 4 bidirectional LSTM layers of 1024, a GRU decoder; 5 h on a V100."""
    frames, spoken, cells = 25.0, 1.5 * WORDS_PER_S, 1024  # 1.5 pieces of 1,000 a word (estimated)
    flops = convolution(1, 128, 3, 100 * 40) + convolution(128, 128, 3, 100 * 40)
    flops += convolution(128, 256, 3, 100 * 20) + convolution(256, 256, 3, 100 * 20)
    inputs = 256 * 10
    for _ in range(4):
        flops += 2 * linear(inputs + cells, 4 * cells, frames)
        inputs = 2 * cells
    flops += linear(inputs, 512, frames) + linear(512, 512, frames) + linear(512, 1000, frames)
    attention = linear(1, 1024, MEAN_S * frames) + linear(10, 1024 + 100, MEAN_S * frames)
    flops += linear(512, 1024, frames)
    flops += spoken * (linear(128 + 512 + cells, 3 * cells, 1) + attention + linear(cells, 1000, 1))
    return Recipe("CRDNN+CTC+attention", flops, 15, 5.0)
