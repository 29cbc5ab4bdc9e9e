"""The contrastive pretraining task: its options, its model, its batches, its loss."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from fedsim.errors import about
from fedsim.options import kind, option
from fedsim.tasks.base import Metric, Outcome, Sums
from fedsim.tasks.ctc.finetuning import Finetuning
from fedsim.tasks.ctc.task import ERROR_RATES
from fedsim.tasks.speech.task import SpeechTask

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from fedsim.tasks.ctc.finetune import Recognition
    from fedsim.tasks.speech.data import SpeechData
    from fedsim.tasks.wav2vec2.batch import Batch


@dataclass(frozen=True, kw_only=True)
class Wav2Vec2(SpeechTask):
    """Contrastive pretraining; what is left open of the objective is the preset's."""

    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("loss", "loss", "nats"),
        Metric("contrastive_accuracy", "contrastive accuracy", "share", better="higher"),
        Metric("codebook_perplexity", "codebook perplexity", better="higher"),
        *ERROR_RATES,
    )

    feature_gradient_scale: float = option(
        1.0, "factor on the gradient that reaches the convolutions", ge=0, le=1
    )
    mask_probability: float | None = option(
        None, "spans x span length / frames; none: the preset's", gt=0, le=1
    )
    mask_span_frames: int | None = option(None, "frames a masked span; none: the preset's", ge=1)
    negatives: int | None = option(None, "distractors a masked frame; none: the preset's", ge=1)
    diversity_weight: float | None = option(None, "of the diversity loss; none: the preset's", ge=0)
    gumbel_max: float = option(2.0, "temperature of the quantizer's Gumbel softmax in round 0", gt=0)
    gumbel_min: float = option(0.5, "the temperature that it falls to", gt=0)
    gumbel_decay: float = option(0.95, "factor on the temperature after each round", gt=0, le=1)
    downstream: Finetuning | None = option(None, "fine-tune for recognition, for WER and CER")
    task: Literal["wav2vec2"] = kind("wav2vec2", "what is learned")

    def __post_init__(self) -> None:
        if self.gumbel_max < self.gumbel_min:
            raise ValueError(f"gumbel_max {self.gumbel_max:g} is below gumbel_min {self.gumbel_min:g}")

    @property
    def model_name(self) -> str:
        return self.model

    def build(self) -> torch.nn.Module:
        from transformers import Wav2Vec2ForPreTraining

        from fedsim.tasks.speech.models import configuration

        model: torch.nn.Module = Wav2Vec2ForPreTraining(copy.deepcopy(configuration(self.model)))
        return model

    def temperature(self, round_index: int) -> float:
        """The temperature of the Gumbel softmax in a round."""
        return max(self.gumbel_min, self.gumbel_max * self.gumbel_decay**round_index)

    def check(self, data: SpeechData) -> None:
        from fedsim.tasks.wav2vec2 import batch

        with about(key="learning.corpus"):
            batch.check(self, data)
        if self.downstream is not None:
            from fedsim.tasks.ctc.finetune import choose
            from fedsim.tasks.speech.models import configuration

            with about(key="learning.downstream"):
                choose(configuration(self.model), self.downstream, data.corpus)

    def batch(
        self, data: SpeechData, examples: NDArray[np.int64], draw: np.random.Generator, training: bool
    ) -> Batch | None:
        from fedsim.tasks.wav2vec2 import batch

        made = batch.make(self, data, examples, draw, training)
        return made if made.masked.any() else None

    def loss(self, model: Any, batch: Batch, round_index: int | None) -> Outcome:
        from fedsim.tasks.wav2vec2 import objective

        weight = self.diversity_weight
        if weight is None:
            weight = float(model.config.diversity_loss_weight)
        temperature = 1.0 if round_index is None else self.temperature(round_index)
        hook = model.wav2vec2.feature_extractor.register_forward_hook(self._scale_gradient)
        try:
            return objective.of_batch(model, batch, temperature).outcome(weight)
        finally:
            hook.remove()

    def _scale_gradient(self, _module: Any, _inputs: Any, output: Any) -> None:
        if self.feature_gradient_scale != 1.0 and output.requires_grad:
            output.register_hook(lambda gradient: gradient * self.feature_gradient_scale)

    def summary(self, sums: Sums) -> dict[str, float]:
        """Loss (nats a masked frame), contrastive accuracy and codebook perplexity."""
        import numpy as np

        shares = sums["codes"] / sums["codes"].sum(axis=-1, keepdims=True)
        logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
        return {
            "loss": sums["loss"] / sums["count"],
            "contrastive_accuracy": sums["correct"] / sums["count"],
            "codebook_perplexity": float(np.exp(-(shares * logs).sum(axis=-1)).sum()),
        }

    @property
    def finetuning(self) -> Finetuning | None:
        return self.downstream

    def finetunes(self, round_index: int, rounds: int) -> bool:
        if self.downstream is None:
            return False
        every = self.downstream.every
        return round_index == rounds - 1 or (every > 0 and (round_index + 1) % every == 0)

    def finetune(self, model: Any, data: SpeechData, seed: int, device: str) -> Recognition:
        from fedsim.tasks.ctc.finetune import recognise

        return recognise(model.wav2vec2, self.downstream or Finetuning(), data.corpus, seed, device)

    def fake_batch(self, batch: int, sizes: Mapping[str, int]) -> dict[str, torch.Tensor]:
        from fedsim.tasks.speech.models import configuration
        from fedsim.tasks.wav2vec2.batch import fake

        return fake(configuration(self.model), batch, sizes["samples"])

    def traced_loss(self, model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """As transformers computes it: the loss on masked frames alone has no shape before it has numbers."""
        loss: torch.Tensor = model(**batch).loss
        return loss
