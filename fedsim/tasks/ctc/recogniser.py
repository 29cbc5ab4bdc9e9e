"""The network that recognises: an encoder of transformers and three linear layers that end in characters.

The one class that is traced and trained, federated or as fine-tuning.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fedsim.tasks.speech import batches
from fedsim.tasks.speech.models import frames as frames_of
from fedsim.units import SAMPLES_PER_S

DROPOUT = 0.1


class Recogniser(nn.Module):
    """An encoder and three linear layers.

    The two hidden ones are normalised: without that, a small model with few transcripts stays for
    hundreds of steps where it says nothing but blanks (measured on the embedded corpus).

    Args:
        encoder: gives ``last_hidden_state`` for waveforms.
        width: of the hidden layers.
        characters: how many there are, CTC's blank included.
    """

    base_model_prefix = "encoder"

    def __init__(self, encoder: Any, width: int, characters: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Sequential(
            nn.Linear(encoder.config.hidden_size, width),
            nn.LayerNorm(width),
            nn.LeakyReLU(),
            nn.Dropout(DROPOUT),
            nn.Linear(width, width),
            nn.LayerNorm(width),
            nn.LeakyReLU(),
            nn.Dropout(DROPOUT),
            nn.Linear(width, characters),
        )

    def forward(
        self, waves: torch.Tensor, attention: torch.Tensor | None, masked: torch.Tensor | None
    ) -> torch.Tensor:
        """Log-probabilities, float[batch, frames, characters]."""
        out = self.encoder(waves, attention_mask=attention, mask_time_indices=masked)
        return torch.log_softmax(self.head(out.last_hidden_state).float(), dim=-1)

    def hear(
        self, waves: torch.Tensor, attention: torch.Tensor | None, lengths: NDArray[np.int64]
    ) -> tuple[torch.Tensor, NDArray[np.int64]]:
        """Log-probabilities of whole utterances, in memory that does not grow with their length.

        What is longer than ``LONGEST_S`` must be alone in its batch (see ``batches.by_length``); it is heard
        in equal pieces, and a word at a cut may suffer.

        Args:
            waves: float32[batch, samples], padded to a multiple of half a second.
            attention: bool[batch, samples], where there is speech; None: everywhere.
            lengths: int64[batch], samples of each that are speech.

        Returns:
            float[batch, frames, characters]; int64[batch], the frames of each that are speech.
        """
        grains = waves.shape[1] // batches.GRAIN_SAMPLES
        pieces = -(-waves.shape[1] // (batches.LONGEST_S * SAMPLES_PER_S))
        cuts = [batches.GRAIN_SAMPLES * (grains * piece // pieces) for piece in range(pieces)]
        heard, frames = [], np.zeros(len(waves), np.int64)
        for start, stop in zip(cuts, [*cuts[1:], waves.shape[1]], strict=True):
            spoken = None if attention is None else attention[:, start:stop]
            heard.append(self(waves[:, start:stop], spoken, None))
            inside = np.minimum(lengths, stop) - start
            frames += [frames_of(self.encoder.config, int(count)) for count in inside]
        return torch.cat(heard, dim=1), frames

    def freeze_feature_encoder(self) -> None:
        """Stop training the convolutions, as transformers' models do."""
        self.encoder.feature_extractor._freeze_parameters()

    def activation_checkpointing_enable(self) -> None:
        """Checkpoint every block, as transformers' models do."""
        self.encoder.activation_checkpointing_enable()
