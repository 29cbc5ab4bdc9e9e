"""A federation: all that decides the learning plane but the run's seed, and what one round did."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedsim.learning.aggregate import Aggregation, FedAvg
from fedsim.learning.compression import Compression, Whole
from fedsim.learning.options import Learning
from fedsim.learning.ways import Way
from fedsim.tasks.base import Task


@dataclass(frozen=True, kw_only=True)
class Federation:
    """Who learns, what, how, and for how long.

    Attributes:
        learning: how clients train; names the task.
        aggregate: how updates become the next global model.
        compression: what is done to an update before it is sent.
        clients: number of clients of the fleet, among whom the data are divided.
        rounds: number of rounds that will be trained (the last is always evaluated).
        max_staleness: oldest global model, in rounds, from which an update is accepted; 0 when
            rounds are synchronous. That many older models are kept.
        ways: in which clients train, at least one; a client's is named by its place here.
        pooled: all parts are put together into one; for the centralised baseline.
        only_part: every client holds this part; for the local-only baseline.
    """

    learning: Learning = field(default_factory=Learning)
    aggregate: Aggregation = field(default_factory=FedAvg)
    compression: Compression = field(default_factory=Whole)
    clients: int = 40
    rounds: int = 20
    max_staleness: int = 0
    ways: tuple[Way, ...] = (Way(),)
    pooled: bool = False
    only_part: int | None = None

    def __post_init__(self) -> None:
        for way in self.ways:
            self.learning.check_steps(way.release_gradients, way.forward_only)

    @property
    def task(self) -> Task:
        """What is learned."""
        return self.learning.task

    def rate(self, round_index: int) -> float:
        """The learning rate of a round: linear warm-up, then constant or linear decay."""
        how = self.learning
        climb = min(1.0, (round_index + 1) / (how.warmup_rounds + 1))
        if how.decay == "none" or round_index < how.warmup_rounds:
            return how.learning_rate * climb
        left = max(1, self.rounds - 1 - how.warmup_rounds)
        return how.learning_rate * max(0.1, 1.0 - 0.9 * (round_index - how.warmup_rounds) / left)

    def evaluates(self, round_index: int) -> bool:
        """Whether the held-out examples are evaluated after this round (counted from 0)."""
        return (round_index + 1) % self.learning.evaluate_every == 0 or round_index == self.rounds - 1

    def finetunes(self, round_index: int) -> bool:
        """Whether the model is fine-tuned for another task after this round (counted from 0)."""
        return self.task.finetunes(round_index, self.rounds)


@dataclass(frozen=True)
class RoundLearning:
    """What one round did to the model, client by client in the order in which they were given.

    Attributes:
        loss: float64[n], mean training loss; ``MISSING``: not trained for real.
        weight: float64[n], share in the aggregate: the mean of the client's shares over the numbers of
            the model that it sent. Where all send the same numbers they sum to 1 over those trained and
            accepted; a client alone in sending some has a share of 1 in those. 0 for the others. All 0 if
            none was accepted: the model stays as it was.
        accepted: bool[n], False for an update that was rejected (non-finite, malformed, too large,
            too stale); a client that was not trained for real counts as accepted, unless it is one
            that sends what is always rejected.
        metrics: (metric, split, value) triples; ``train`` in every round with a trained client.
        examples: float64[n], on how many different examples each was trained, or would have been.
    """

    loss: NDArray[np.float64]
    weight: NDArray[np.float64]
    accepted: NDArray[np.bool_]
    metrics: list[tuple[str, str, float]]
    examples: NDArray[np.float64]
