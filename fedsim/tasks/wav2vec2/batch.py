"""A batch of the contrastive task: waveforms, what is masked of them, and the distractors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from fedsim.errors import CorpusError
from fedsim.tasks.speech import batches, masks
from fedsim.tasks.speech.data import SpeechData
from fedsim.tasks.speech.models import configuration, frames

if TYPE_CHECKING:
    from fedsim.tasks.wav2vec2.task import Wav2Vec2


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


def make(
    task: Wav2Vec2,
    data: SpeechData,
    utterances: NDArray[np.int64],
    draw: np.random.Generator,
    training: bool,
) -> Batch:
    """Cut, pad and mask some utterances; in training at random places and as their parts are recorded."""
    config, (probability, span) = configuration(task.model), _masking(task)
    waves, lengths = batches.waveforms(
        data.corpus,
        utterances,
        batches.grain(task.crop_seconds),
        draw,
        data.quality if training else None,
        random_crop=training,
    )
    width = waves.shape[1]
    valid = np.array([frames(config, int(length)) for length in lengths], dtype=np.int64)
    masked = masks.spans(valid, frames(config, width), probability, span, draw)
    count = int(_choose(task.negatives, config.num_negatives))
    negatives = masks.negatives(masked, count, draw)
    return Batch(waves, None if bool((lengths == width).all()) else lengths, masked, negatives)


def _masking(task: Wav2Vec2) -> tuple[float, int]:
    """The probability of a mask, and the frames of a masked span."""
    config = configuration(task.model)
    probability = float(_choose(task.mask_probability, config.mask_time_prob))
    return probability, int(_choose(task.mask_span_frames, config.mask_time_length))


def check(task: Wav2Vec2, data: SpeechData) -> None:
    """Refuse speech of which, training or evaluating, nothing is as long as one masked span.

    Raises:
        CorpusError: says which split.
    """
    config, (_, span) = configuration(task.model), _masking(task)
    used = {"train": data.corpus.of_split("train")}
    used |= {split: np.concatenate(data.held_out(split)) for split in task.splits}
    for split, utterances in used.items():
        longest = min(int(data.corpus.samples[utterances].max()), batches.grain(task.crop_seconds))
        if (count := frames(config, longest)) < span:
            raise CorpusError(
                f"has nothing to mask in the {split} split: a masked span is {span} frames, and the longest "
                f"piece has {count}; take longer pieces (learning.crop_seconds) or shorter spans "
                "(learning.mask_span_frames)"
            )


def _choose(value: Any, default: Any) -> Any:
    return default if value is None else value


def fake(config: Any, batch: int, samples: int) -> dict[str, torch.Tensor]:
    """Tensors of the shapes that transformers' own forward pass takes, without numbers."""
    count = frames(config, samples)
    return {
        "input_values": torch.empty(batch, samples),
        "mask_time_indices": torch.empty(batch, count, dtype=torch.bool),
        "sampled_negative_indices": torch.empty(batch, count, config.num_negatives, dtype=torch.int64),
    }
