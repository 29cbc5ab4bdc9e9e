"""The training objectives of speech models: how a model is made with its loss, and what a batch holds.

Which objective a configuration is trained with follows from its first architecture, or from its
model type (see heads.py for those that transformers does not have).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from fedsim.tasks.ctc import batch as ctc
from fedsim.tasks.speech.models import frames
from fedsim.tasks.wav2vec2 import batch as wav2vec2
from fedsim.tracing import heads

KNOWN = ("wav2vec2", "hubert", "wavlm", "data2vec-audio")
"""The model types whose objectives are stated here; those of others see architecture.py."""

HEAD_WIDTH = 1024
"""Of the layers for recognition, as in the study's section 4.2."""


def fuses(config: Any) -> bool:
    """Whether transformers can run the model with fused attention; WavLM's relative positions forbid it."""
    from transformers import AutoModel

    model_class: Any = AutoModel._model_mapping[type(config)]
    return bool(model_class._supports_sdpa)


def speech(config: Any) -> bool:
    """Whether a configuration is of these model types, to be trained as stated here."""
    architecture = (getattr(config, "architectures", None) or ["Model"])[0]
    return config.model_type in KNOWN and architecture.endswith(("ForPreTraining", "ForCTC", "Model"))


@dataclass(frozen=True)
class Objective:
    """How a model is made with its loss, and what a batch of it holds, at a waveform's length."""

    name: str
    make: Callable[[Any], torch.nn.Module]
    inputs: Callable[[Any, int, int], dict[str, torch.Tensor]]


def objective_of(config: Any, recognition: tuple[int, int] | None = None) -> Objective:
    """The training objective of a configuration; ``recognition``: width and characters of CTC's layers."""
    architecture = (getattr(config, "architectures", None) or [""])[0]
    if recognition is not None or architecture.endswith("ForCTC"):
        width, characters = recognition or (HEAD_WIDTH, config.vocab_size)
        return Objective(
            "CTC on three linear layers",
            partial(heads.Recognition, width=width, characters=characters),
            ctc.fake,
        )
    if config.model_type == "data2vec-audio":
        return MASKED_REGRESSION
    if config.model_type == "wav2vec2" and architecture in ("", "Wav2Vec2ForPreTraining"):
        return CONTRASTIVE
    return MASKED_PREDICTION


def _contrastive(config: Any) -> torch.nn.Module:
    from transformers import Wav2Vec2ForPreTraining

    return Wav2Vec2ForPreTraining(config)


def _masked(config: Any, batch: int, samples: int) -> dict[str, torch.Tensor]:
    return {
        "waveforms": torch.empty(batch, samples),
        "masked": torch.empty(batch, frames(config, samples), dtype=torch.bool),
    }


CONTRASTIVE = Objective("wav2vec2 pretraining", _contrastive, wav2vec2.fake)
MASKED_PREDICTION = Objective(
    "masked prediction of clusters",
    heads.MaskedPrediction,
    lambda config, batch, samples: {
        **_masked(config, batch, samples),
        "clusters": torch.empty(batch, frames(config, samples), dtype=torch.int64),
    },
)
MASKED_REGRESSION = Objective(
    "masked regression, student only",
    heads.MaskedRegression,
    lambda config, batch, samples: {
        **_masked(config, batch, samples),
        "teacher": torch.empty(batch, frames(config, samples), config.hidden_size),
    },
)
