"""A corpus that is divided: what a speech task learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedsim.errors import CorpusError
from fedsim.tasks.speech import batches, corpus, partition

if TYPE_CHECKING:
    from fedsim.tasks.speech.task import SpeechTask


class SpeechData:
    """Utterances, and who holds which.

    Args:
        task: which speech, and how it is divided.
        seed: of the run.

    Attributes:
        corpus: the speech.
        quality: int64[utterances], how each is recorded when it is trained on.

    Raises:
        CorpusError: if there is no usable speech, too little to divide as asked, or none that the task can
            learn from, be evaluated on or be fine-tuned on.
    """

    def __init__(self, task: SpeechTask, seed: int) -> None:
        self._task = task
        self.corpus = corpus.load(task.corpus)
        divided = partition.divide(self.corpus, task, seed)
        self.parts: Sequence[NDArray[np.int64]] = divided.parts
        self.quality = divided.quality
        self.notes: list[str] = self.corpus.summary()
        self.account: Mapping[str, Any] | None = self.corpus.account()
        for split in task.splits:
            if not len(self.corpus.of_split(split)):
                raise CorpusError(f"the corpus has no speakers in the {split} split", key="learning.corpus")
        task.check(self)

    def held_out(self, split: str) -> Sequence[NDArray[np.int64]]:
        """The utterances of each evaluation batch, the same in every run; see ``batches.held_out``."""
        return batches.held_out(
            self.corpus, split, self._task.evaluation_seconds, self._task.longest_evaluated_s
        )
