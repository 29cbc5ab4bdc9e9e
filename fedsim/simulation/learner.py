"""What a run asks of a learner beside the rounds that the engine hands it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fedsim.engine.world import Learner


class RunLearner(Learner, Protocol):
    """A learner with a beginning, an end and something to say for itself.

    Attributes:
        notes: sentences about its data, for whoever watches.
        account: what its data hold and what of them was skipped, with a ``sha256``; None if that is
            always the same.
    """

    @property
    def notes(self) -> Sequence[str]: ...

    @property
    def account(self) -> Mapping[str, Any] | None: ...

    def trains_on(self, clients: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """int64[n]: on how many examples each client trains in a round; None if it is not known yet."""
        ...

    def initial_metrics(self) -> list[tuple[str, str, float]]:
        """Evaluate the initial model: (metric, split, value); keeps a checkpoint of it."""
        ...

    def finetune(self) -> list[tuple[str, str, float]]:
        """Fine-tune the global model for another task, and evaluate that."""
        ...

    def restore(self, rounds_done: int) -> int:
        """Go back to where so many rounds were done, and say how many were."""
        ...

    def close(self) -> None:
        """Let go of processes and shared memory."""
        ...
