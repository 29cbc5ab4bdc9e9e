"""Buffered: no cohorts at all; a round closes whenever so many updates have come.

FedBuff (Nguyen et al., "Federated Learning with Buffered Asynchronous Aggregation", AISTATS 2022).
A fixed number of clients is at work at any time; as soon as one ends, in whatever way, another
starts with the newest model. Updates gather in a buffer, and when it is full they make the next
model. An update may be based on a model some rounds old: its staleness is the closing round less
the round it started from, both of which the learner is given.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Buffered:
    """Asynchronous rounds.

    Attributes:
        size: updates that make a new model.
        concurrency: clients at work at a time; None for the plan's cohort.
    """

    size: int
    concurrency: int | None = None

    def __post_init__(self) -> None:
        if self.size < 1 or (self.concurrency is not None and self.concurrency < 1):
            raise ValueError("a buffer holds at least one update, and at least one client is at work")


def staleness_weight(rounds: int, power: float = 0.5) -> float:
    """FedBuff's weight of an update that is so many rounds old: ``(1 + rounds) ** -power``."""
    return float((1.0 + rounds) ** -power)
