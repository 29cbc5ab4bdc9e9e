"""Fine-tuning for speech recognition: what can be set about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedsim.options import Options, option

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Finetuning(Options):
    """Fine-tuning with CTC, in one place, and its test.

    A tenth of the steps warm up, and the second half decays.
    """

    every: int = option(0, "rounds between fine-tunings; 0: after the last round only", ge=0)
    minutes: float = option(10.0, "transcribed training speech used at most", gt=0)
    steps: int = option(400, "optimizer steps", ge=1)
    batch_size: int = option(8, "utterances a step", ge=1)
    learning_rate: float = option(1e-3, "peak of Adam's rate for the encoder", gt=0, le=1)
    head_rate: float = option(3e-3, "peak of Adam's rate for the layers on top", gt=0, le=1)
    head_size: int = option(128, "width of the two hidden of the three linear layers on top", ge=1)
    mask_probability: float = option(0.1, "share of frames masked while training", ge=0, lt=1)
    test_minutes: float = option(5.0, "test speech recognised at most", gt=0)
    longest_seconds: float = option(15.0, "longer training utterances are left out", gt=0)

    def times(self, rounds: int) -> int:
        """How often a model is fine-tuned in so many rounds."""
        return -(-rounds // self.every) if self.every else 1

    def padded(self, sizes: NDArray[np.float64]) -> NDArray[np.float64]:
        """To how many samples batches are padded."""
        from fedsim.tasks.speech.batches import padded

        return padded(sizes, self.longest_seconds)
