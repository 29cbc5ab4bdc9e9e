"""The network that recognises: an encoder of transformers and three linear layers that end in characters.

The one class that is traced and trained, federated or as fine-tuning.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

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

    def freeze_feature_encoder(self) -> None:
        """Stop training the convolutions, as transformers' models do."""
        self.encoder.feature_extractor._freeze_parameters()

    def activation_checkpointing_enable(self) -> None:
        """Checkpoint every block, as transformers' models do."""
        self.encoder.activation_checkpointing_enable()
