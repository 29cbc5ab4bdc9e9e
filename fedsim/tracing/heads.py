"""Models with their training objective, as one module that takes a batch and gives a loss.

Wav2Vec2 pretraining is transformers' own ``Wav2Vec2ForPreTraining``. The other objectives have no
class there and are stated here, on transformers' encoders:

- masked prediction (HuBERT, WavLM): every frame is projected to 256 numbers and compared by cosine
  with 504 cluster embeddings; cross-entropy over the masked frames (Hsu et al., HuBERT, 2021).
- masked regression (data2vec): a linear head predicts the teacher's averaged layers, squared error
  (Baevski et al., data2vec, 2022). The teacher's own forward pass is not part of the trace.
- recognition: the task ``ctc``, for sentences of 80 characters (5.5 s of Italian).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from fedsim.tasks.ctc.batch import fake_loss
from fedsim.tasks.ctc.recogniser import Recogniser

CLUSTERS = 504
PROJECTED = 256
TEMPERATURE = 0.1


class _Headed(nn.Module):
    """An encoder of transformers as ``base``, and what its objective adds."""

    base_model_prefix = "base"

    def __init__(self, config: Any):
        from transformers import AutoModel

        super().__init__()
        make: Any = AutoModel.from_config
        self.base = make(config, attn_implementation=config._attn_implementation)

    def activation_checkpointing_enable(self) -> None:
        """Checkpoint every block, as transformers' models do."""
        self.base.activation_checkpointing_enable()

    def freeze_feature_encoder(self) -> None:
        """Stop training the convolutions, as transformers' models do."""
        self.base.feature_extractor._freeze_parameters()


class MaskedPrediction(_Headed):
    """HuBERT's and WavLM's objective."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.final_proj = nn.Linear(config.hidden_size, PROJECTED)
        self.label_embeddings = nn.Parameter(torch.empty(CLUSTERS, PROJECTED))

    def forward(self, waveforms: torch.Tensor, masked: torch.Tensor, clusters: torch.Tensor) -> torch.Tensor:
        """The loss for (batch, samples) waveforms and (batch, frames) masks and clusters."""
        hidden = self.base(waveforms, mask_time_indices=masked).last_hidden_state
        frames = F.normalize(self.final_proj(hidden).float(), dim=-1)
        logits = frames @ F.normalize(self.label_embeddings, dim=-1).t() / TEMPERATURE
        targets = torch.where(masked, clusters, -100)
        return F.cross_entropy(logits.float().view(-1, CLUSTERS), targets.view(-1), reduction="sum")


class MaskedRegression(_Headed):
    """data2vec's objective for the student."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.final_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, waveforms: torch.Tensor, masked: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """The loss for (batch, samples) waveforms and the teacher's (batch, frames, hidden)."""
        predicted = self.final_proj(self.base(waveforms, mask_time_indices=masked).last_hidden_state)
        error = (predicted.float() - teacher) ** 2
        return torch.where(masked.unsqueeze(-1), error, torch.zeros_like(error)).sum()


class Recognition(Recogniser):
    """The recogniser that is trained, on an encoder by its configuration, with its loss."""

    def __init__(self, config: Any, width: int, characters: int):
        from transformers import AutoModel

        make: Any = AutoModel.from_config
        super().__init__(make(config, attn_implementation=config._attn_implementation), width, characters)

    def forward(  # type: ignore[override]
        self, waves: torch.Tensor, masked: torch.Tensor, text: torch.Tensor
    ) -> torch.Tensor:
        """The loss for (batch, samples) waveforms, (batch, frames) masks and (batch, characters) of text."""
        return fake_loss(super().forward(waves, None, masked), masked, text)


MASKED_PREDICTION = ("masked prediction of clusters", MaskedPrediction)
ARCHITECTURES: dict[str, tuple[str, type[nn.Module]]] = {}
"""Objectives that transformers has no class for, by the architecture's name in a configuration."""


def targets(config: Any, inputs: torch.Tensor, batch: int, frames: int) -> dict[str, torch.Tensor]:
    """What the objectives of speech models are given beside (or as) the model's input, without numbers."""
    masked = torch.empty(batch, frames, dtype=torch.bool)
    negatives = getattr(config, "num_negatives", 1)
    return {
        "waveforms": inputs,
        "masked": masked,
        "mask_time_indices": masked,
        "sampled_negative_indices": torch.empty(batch, frames, negatives, dtype=torch.int64),
        "clusters": torch.empty(batch, frames, dtype=torch.int64),
        "teacher": torch.empty(batch, frames, config.hidden_size),
    }
