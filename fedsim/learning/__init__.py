"""Federation of weights: local training, the vector that travels, aggregation, checkpoints.

The room implements the engine's ``Learner`` structurally and knows nothing of the engine: it is
told which clients delivered an update, in which order, and trained from which global model. It knows
a task only by its protocol (:mod:`fedsim.tasks.base`).
Importing this package imports neither torch nor pandas; they come with :func:`make_learner`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fedsim.learning.federation import Federation, RoundLearning
from fedsim.learning.options import Learning
from fedsim.learning.ways import Way

if TYPE_CHECKING:
    from fedsim.learning.learner import FederatedLearner
    from fedsim.learning.workers import MakePool

__all__ = ["Federation", "Learning", "RoundLearning", "Way", "make_learner"]


def make_learner(
    federation: Federation,
    seed: int,
    workers: int = 1,
    checkpoints: Path | None = None,
    make_pool: MakePool | None = None,
) -> FederatedLearner:
    """A :class:`~fedsim.learning.learner.FederatedLearner`; torch is imported only now."""
    from fedsim.learning.learner import FederatedLearner

    return FederatedLearner(federation, seed, workers, checkpoints, make_pool)
