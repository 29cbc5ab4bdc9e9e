"""One training step of a speech model: its inputs, its loss, and the autocast around it.

Wav2Vec2 pretraining is transformers' own objective: masked frames, negatives drawn from the same
utterance, contrastive plus diversity loss. Layer drop is switched off: a trace holds every layer,
as the longest step does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from fedsim.tracing import cuda
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
        config._attn_implementation = variant.attention
        self.config, self.variant = config, variant
        self.mode, self.model = build(lambda: _pretraining(config))
        if prepare is not None:
            prepare(self.model)
        self._quick = quick(self.mode)

    def trace(self, batch: int, samples: int, quickly: bool = False) -> list[Layer]:
        """Run one forward and one backward pass; the layers in the order of the forward pass."""
        return self.record(batch, samples, quickly).layers

    def record(
        self, batch: int, samples: int, quickly: bool = False, watch: Watch | None = None
    ) -> Recorder:
        """As :meth:`trace`, giving the finished recorder; ``watch`` is told of every operator."""
        run = self._quick if quickly else None
        self.model.zero_grad(set_to_none=True)
        with self.mode, contextlib.ExitStack() as stack:
            inputs = _pretraining_inputs(self.config, batch, samples)
            recorder = Recorder(self.model, list(inputs.values()), run, watch)
            stack.enter_context(recorder)
            if self.variant.backend == "cuda":
                stack.enter_context(cuda.operators())
            with torch.autocast("cpu", torch.float16, enabled=self.variant.precision == "mixed"):
                loss = self.model(**inputs).loss
            recorder.start_backward()
            loss.backward()
            recorder.finish()
        return recorder


def _pretraining(config: Any) -> torch.nn.Module:
    from transformers import Wav2Vec2ForPreTraining

    return Wav2Vec2ForPreTraining(config)


def _pretraining_inputs(config: Any, batch: int, samples: int) -> dict[str, torch.Tensor]:
    count = frames(config, samples)[-1]
    return {
        "input_values": torch.empty(batch, samples),
        "mask_time_indices": torch.empty(batch, count, dtype=torch.bool),
        "sampled_negative_indices": torch.empty(batch, count, config.num_negatives, dtype=torch.int64),
    }
