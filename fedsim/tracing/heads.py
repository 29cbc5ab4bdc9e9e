"""Models with their training objective, as one module that takes a batch and gives a loss.

Wav2Vec2 pretraining is transformers' own ``Wav2Vec2ForPreTraining``. The other objectives have no
class there and are stated here, on transformers' encoders:

- masked prediction (HuBERT, WavLM): every frame is projected to 256 numbers and compared by cosine
  with 504 cluster embeddings; cross-entropy over the masked frames (Hsu et al., HuBERT, 2021).
- masked regression (data2vec): a linear head predicts the teacher's averaged layers, squared error
  (Baevski et al., data2vec, 2022). The teacher's own forward pass is not part of the trace.
- distillation (DistilHuBERT): heads predict layers of a teacher, absolute difference and the logarithm of
  the sigmoid of cosines (Chang et al., DistilHuBERT, 2021, arXiv 2110.01900). Without the teacher's pass.
- random projection (BEST-RQ): log-mel frames, masked ones replaced by noise, cross-entropy with the codes
  that a quantiser of random numbers gives (Chiu et al., 2022, arXiv 2202.01855), in the size of SpeechBrain's
  recipe (Whetten et al., 2024, arXiv 2405.04296).
- recognition: the task ``ctc``, for sentences of 80 characters (5.5 s of Italian).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from fedsim.tasks.ctc.batch import fake_loss
from fedsim.tasks.ctc.recogniser import Recogniser

CLUSTERS = 504
PROJECTED = 256
TEMPERATURE = 0.1


def encoder(config: Any) -> Any:
    """The encoder of transformers of a configuration, with the attention that it asks for."""
    from transformers import AutoModel

    make: Any = AutoModel.from_config
    return make(config, attn_implementation=config._attn_implementation)


class _Headed(nn.Module):
    """An encoder of transformers as ``base``, and what its objective adds."""

    base_model_prefix = "base"

    def __init__(self, config: Any):
        super().__init__()
        self.base = encoder(config)

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
        super().__init__(encoder(config), width, characters)

    def forward(  # type: ignore[override]
        self, waves: torch.Tensor, masked: torch.Tensor, text: torch.Tensor
    ) -> torch.Tensor:
        """The loss for (batch, samples) waveforms, (batch, frames) masks and (batch, characters) of text."""
        return fake_loss(super().forward(waves, None, masked), masked, text)


class DistilHubert(_Headed):
    """DistilHuBERT's student, which predicts layers of HuBERT's, and its loss.

    Prediction heads and loss are those of s3prl's ``expand-last``
    (https://github.com/s3prl/s3prl/blob/main/s3prl/upstream/distiller/model.py). The teacher's own forward
    pass is not part of the trace.
    """

    main_input_name = "input_values"

    def __init__(self, config: Any):
        super().__init__(config)
        width, self.heads = config.hidden_size, len(config.predicted_layers)
        self.expand = nn.Linear(width, self.heads * width)
        self.predict = nn.ModuleList(nn.Linear(width, width) for _ in range(self.heads))

    def forward(self, waveforms: torch.Tensor, layers: torch.Tensor) -> torch.Tensor:
        """The loss for (batch, samples) waveforms and the teacher's (batch, heads, frames, hidden) layers."""
        hidden = F.gelu(self.expand(self.base(waveforms).last_hidden_state)).chunk(self.heads, dim=-1)
        predicted = torch.stack([head(part) for head, part in zip(self.predict, hidden, strict=True)], dim=1)
        alike = F.logsigmoid(F.cosine_similarity(predicted.float(), layers, dim=-1)).mean()
        return F.l1_loss(predicted.float(), layers) - alike


class BestRq(_Headed):
    """BEST-RQ: a conformer predicts, for masked frames, codes that a quantiser of random numbers gives.

    Two convolutions take every four of (batch, frames, mel bands) together, as in SpeechBrain's recipe. The
    quantiser is not trained; its nearest code is found by the largest product, since all have length 1.
    """

    main_input_name = "input_features"
    STACKED = 4
    projection: torch.Tensor
    codebook: torch.Tensor

    def __init__(self, config: Any):
        super().__init__(config)
        self.convolutions, self.norms = nn.ModuleList(), nn.ModuleList()
        channels = [1, *config.subsampling_channels]
        for before, after in pairwise(channels):
            self.convolutions.append(nn.Conv2d(before, after, 3, stride=2, padding=1))
            self.norms.append(nn.LayerNorm(after))
        self.final_proj = nn.Linear(config.hidden_size, config.codebook_size)
        stacked = self.STACKED * config.num_mel_bins
        self.register_buffer("projection", torch.empty(stacked, config.codebook_dim))
        self.register_buffer("codebook", torch.empty(config.codebook_dim, config.codebook_size))

    def forward(self, features: torch.Tensor, masked: torch.Tensor) -> torch.Tensor:
        """The loss for (batch, frames, bands) features and a (batch, frames) mask."""
        missing = -features.shape[1] % self.STACKED
        features, masked = F.pad(features, (0, 0, 0, missing)), F.pad(masked, (0, missing))
        with torch.no_grad():
            stacked = features.reshape(len(features), -1, len(self.projection))
            codes = (F.normalize(stacked @ self.projection, dim=-1) @ self.codebook).argmax(dim=-1)
        features = torch.where(masked.unsqueeze(-1), 0.1 * torch.randn_like(features), features).unsqueeze(1)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            features = F.leaky_relu(norm(convolution(features).movedim(1, -1))).movedim(-1, 1)
        hidden = self.base(features.transpose(1, 2).flatten(2)).last_hidden_state
        targets = torch.where(masked[:, :: self.STACKED], codes, -100)
        return F.cross_entropy(self.final_proj(hidden).float().flatten(0, 1), targets.flatten())


MASKED_PREDICTION = ("masked prediction of clusters", MaskedPrediction)
ARCHITECTURES: dict[str, tuple[str, type[nn.Module]]] = {
    "BestRq": ("masked prediction of codes by random projection", BestRq),
    "DistilHubert": ("distillation of a teacher's layers, student only", DistilHubert),
}
"""Objectives that transformers has no class for, by the architecture's name in a configuration."""

GIVEN = {"mask_time_indices", "masked", "layers"}


def given(config: Any, inputs: torch.Tensor, frames: int) -> dict[str, torch.Tensor]:
    """What pretraining on speech takes, by argument, without numbers; ``inputs`` are the model's."""
    batch, long = len(inputs), torch.int64
    masked = torch.empty(batch, frames, dtype=torch.bool)
    predicted = len(getattr(config, "predicted_layers", ()))
    return {
        "waveforms": inputs,
        "features": inputs,
        "masked": masked,
        "mask_time_indices": masked,
        "sampled_negative_indices": torch.empty(
            batch, frames, getattr(config, "num_negatives", 1), dtype=long
        ),
        "clusters": torch.empty(batch, frames, dtype=long),
        "layers": torch.empty(batch, predicted, frames, config.hidden_size),
    }
