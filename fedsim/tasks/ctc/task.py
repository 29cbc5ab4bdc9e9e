"""The recognition task: its options, its network, its batches, its loss and its error rates."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from fedsim.errors import about
from fedsim.options import kind, option
from fedsim.tasks.base import Metric, Outcome, Sums
from fedsim.tasks.speech.task import SpeechTask

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from fedsim.tasks.ctc.batch import Batch
    from fedsim.tasks.ctc.transcripts import Vocabulary
    from fedsim.tasks.speech.data import SpeechData

ERROR_RATES = (
    Metric("wer", "word error rate", "share"),
    Metric("cer", "character error rate", "share"),
)
FAKE_CHARACTERS = 80  # of a sentence in a fake batch: 5.5 s of Italian


@dataclass(frozen=True, kw_only=True)
class Ctc(SpeechTask):
    """Recognition of characters, trained on transcribed speech from the first step on."""

    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("loss", "loss", "nats a label"),
        *ERROR_RATES,
    )

    splits: ClassVar[tuple[str, ...]] = ("validation", "test")

    crop_seconds: float = option(15.0, "longer utterances are left out of training", ge=0.5, le=60)
    head_size: int = option(128, "width of the two hidden of the three linear layers on top", ge=1)
    mask_probability: float = option(0.1, "share of frames masked while training", ge=0, lt=1)
    task: Literal["ctc"] = kind("ctc", "what is learned")

    @property
    def model_name(self) -> str:
        return f"{self.model}-ctc"

    def build(self) -> torch.nn.Module:
        from transformers import Wav2Vec2Model

        from fedsim.tasks.ctc.recogniser import Recogniser
        from fedsim.tasks.speech.models import configuration

        encoder = Wav2Vec2Model(copy.deepcopy(configuration(self.model)))
        return Recogniser(encoder, self.head_size, len(self.vocabulary()))

    def vocabulary(self) -> Vocabulary:
        """The characters of the corpus's training transcripts."""
        from fedsim.tasks.ctc.batch import vocabulary

        return vocabulary(self.corpus)

    @property
    def longest_evaluated_s(self) -> float:
        return math.inf

    def check(self, data: SpeechData) -> None:
        from fedsim.tasks.ctc import batch

        with about(key="learning.corpus"):
            batch.check(self, data)

    def batch(
        self, data: SpeechData, examples: NDArray[np.int64], draw: np.random.Generator, training: bool
    ) -> Batch | None:
        from fedsim.tasks.ctc import batch

        return batch.make(self, data, examples, draw, training)

    def learnable(self, data: SpeechData, examples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those that are transcribed, and neither too long nor too hurried."""
        from fedsim.tasks.ctc import batch

        return batch.usable(self, data, examples, training=True)

    def loss(self, model: Any, batch: Batch, round_index: int | None) -> Outcome:
        from fedsim.tasks.ctc import batch as batches

        return batches.loss(model, batch, evaluating=round_index is None)

    def summary(self, sums: Sums) -> dict[str, float]:
        """The loss, and the error rates of speech that was recognised."""
        found = {"loss": sums["loss"] / sums["count"]}
        if sums.get("words"):
            found |= {"wer": sums["word_errors"] / sums["words"], "cer": sums["errors"] / sums["characters"]}
        return found

    def fake_batch(self, batch: int, sizes: Mapping[str, int]) -> dict[str, torch.Tensor]:
        from fedsim.tasks.ctc.batch import fake
        from fedsim.tasks.speech.models import configuration

        return fake(configuration(self.model), batch, sizes["samples"])

    def traced_loss(self, model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        from fedsim.tasks.ctc.batch import fake_loss

        likely = model(batch["waves"], None, batch["masked"])
        return fake_loss(likely, batch["masked"], batch["text"])
