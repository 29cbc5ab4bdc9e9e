"""One training step of a speech model: its inputs, its loss, and the autocast around it.

Which objective a configuration is trained with follows from its first architecture, or from its
model type (see heads.py for what each is). Layer drop is switched off: a trace holds every layer, as
the longest step does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from fedsim.tracing import cuda, heads
from fedsim.tracing.fake import build, quick
from fedsim.tracing.recorder import Layer, Recorder, Watch

BACKENDS = ("cpu", "cuda")
ATTENTIONS = ("eager", "sdpa")
PRECISIONS = ("fp32", "mixed")


@dataclass(frozen=True)
class Variant:
    """What decides which operators run: part of a trace's key."""

    backend: str
    attention: str
    precision: str

    def __str__(self) -> str:
        return f"{self.backend}/{self.attention}/{self.precision}"


VARIANTS = tuple(Variant(b, a, p) for b in BACKENDS for a in ATTENTIONS for p in PRECISIONS)


def frames(config: Any, samples: int) -> list[int]:
    """Samples, then the frames after each convolution of the feature encoder."""
    lengths = [samples]
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        lengths.append((lengths[-1] - kernel) // stride + 1)
    return lengths


class Step:
    """A model on fake tensors that can be traced at any batch and length.

    Args:
        config: a transformers configuration; it is not changed.
        variant: backend, attention and precision.
        layers: transformer layers to build, if not the configuration's own number.
        prepare: called with the finished model, for example to switch on checkpointing.
    """

    def __init__(
        self,
        config: Any,
        variant: Variant,
        layers: int | None = None,
        prepare: Callable[[Any], None] | None = None,
    ):
        config = type(config)(**{**config.to_dict(), "layerdrop": 0.0})
        if layers is not None:
            config.num_hidden_layers = layers
        config._attn_implementation = variant.attention if fuses(config) else "eager"
        self.config, self.variant = config, variant
        self.objective = objective_of(config)
        self.mode, self.model = build(lambda: self.objective.make(config))
        if prepare is not None:
            prepare(self.model)
        self._quick = quick(self.mode)

    def trace(self, batch: int, samples: int, quickly: bool = False) -> list[Layer]:
        """Run one forward and one backward pass; the layers in the order of the forward pass."""
        return self.record(batch, samples, quickly).layers

    def record(self, batch: int, samples: int, quickly: bool = False, watch: Watch | None = None) -> Recorder:
        """As :meth:`trace`, giving the finished recorder; ``watch`` is told of every operator."""
        run = self._quick if quickly else None
        self.model.zero_grad(set_to_none=True)
        with self.mode, contextlib.ExitStack() as stack:
            count = frames(self.config, samples)[-1]
            inputs = self.objective.inputs(self.config, batch, samples, count)
            recorder = Recorder(self.model, list(inputs.values()), run, watch)
            stack.enter_context(recorder)
            if self.variant.backend == "cuda":
                stack.enter_context(cuda.operators())
            with torch.autocast("cpu", torch.float16, enabled=self.variant.precision == "mixed"):
                loss = _loss(self.model(**inputs))
            recorder.start_backward()
            torch.autograd.backward(loss)
            recorder.finish()
        return recorder


def fuses(config: Any) -> bool:
    """Whether transformers can run the model with fused attention; WavLM's relative positions forbid it."""
    from transformers import AutoModel

    model_class: Any = AutoModel._model_mapping[type(config)]
    return bool(model_class._supports_sdpa)


def _loss(out: Any) -> torch.Tensor:
    """The loss alone, so that nothing else of the output outlives the forward pass."""
    loss: torch.Tensor = out if isinstance(out, torch.Tensor) else out.loss
    return loss


@dataclass(frozen=True)
class Objective:
    """How a model is made and what a batch of it holds."""

    name: str
    make: Callable[[Any], torch.nn.Module]
    inputs: Callable[[Any, int, int, int], dict[str, torch.Tensor]]


def objective_of(config: Any) -> Objective:
    """The training objective of a configuration."""
    architecture = (getattr(config, "architectures", None) or [""])[0]
    if architecture.endswith("ForCTC"):
        return RECOGNITION
    if config.model_type == "data2vec-audio":
        return MASKED_REGRESSION
    if config.model_type == "wav2vec2" and architecture in ("", "Wav2Vec2ForPreTraining"):
        return CONTRASTIVE
    return MASKED_PREDICTION


def _contrastive(config: Any) -> torch.nn.Module:
    from transformers import Wav2Vec2ForPreTraining

    return Wav2Vec2ForPreTraining(config)


def _mask(batch: int, count: int) -> torch.Tensor:
    return torch.empty(batch, count, dtype=torch.bool)


CONTRASTIVE = Objective(
    "wav2vec2 pretraining",
    _contrastive,
    lambda config, batch, samples, count: {
        "input_values": torch.empty(batch, samples),
        "mask_time_indices": _mask(batch, count),
        "sampled_negative_indices": torch.empty(batch, count, config.num_negatives, dtype=torch.int64),
    },
)
MASKED_PREDICTION = Objective(
    "masked prediction of clusters",
    heads.MaskedPrediction,
    lambda config, batch, samples, count: {
        "waveforms": torch.empty(batch, samples),
        "masked": _mask(batch, count),
        "clusters": torch.empty(batch, count, dtype=torch.int64),
    },
)
MASKED_REGRESSION = Objective(
    "masked regression, student only",
    heads.MaskedRegression,
    lambda config, batch, samples, count: {
        "waveforms": torch.empty(batch, samples),
        "masked": _mask(batch, count),
        "teacher": torch.empty(batch, count, config.hidden_size),
    },
)
RECOGNITION = Objective(
    "CTC on three linear layers",
    heads.Recognition,
    lambda config, batch, samples, count: {
        "waveforms": torch.empty(batch, samples),
        "masked": _mask(batch, count),
        "text": torch.empty(batch, heads.CHARACTERS, dtype=torch.int64),
    },
)
