"""Real federated pretraining of a speech model: corpora, local training, aggregation, evaluation.

The room implements the engine's ``Learner`` structurally and knows nothing of the engine: it is
told which clients delivered an update, in which order, and trained from which global model.
Importing this package imports neither torch nor pandas; they come with :func:`speech_learner`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fedsim.learning.spec import ByzantineSpec, CorpusSpec, FinetuneSpec, LearnerSpec, RoundLearning

if TYPE_CHECKING:
    from fedsim.learning.learner import SpeechLearner
    from fedsim.learning.workers import MakePool

__all__ = ["ByzantineSpec", "CorpusSpec", "FinetuneSpec", "LearnerSpec", "RoundLearning", "speech_learner"]


def speech_learner(
    spec: LearnerSpec,
    seed: int,
    workers: int = 1,
    checkpoints: Path | None = None,
    make_pool: MakePool | None = None,
) -> SpeechLearner:
    """A :class:`~fedsim.learning.learner.SpeechLearner`; torch is imported only now."""
    from fedsim.learning.learner import SpeechLearner

    return SpeechLearner(spec, seed, workers, checkpoints, make_pool)
