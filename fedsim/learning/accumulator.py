"""Sums over masked frames, and the metrics that follow from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Metrics = list[tuple[str, str, float]]


@dataclass(frozen=True)
class Accumulator:
    """Sums over masked frames; accumulators add up.

    Attributes:
        loss: contrastive loss in nats, summed.
        correct, count: frames told right, and all.
        codes: float64[groups, entries], how often each codevector was the most probable.
    """

    loss: float
    correct: int
    count: int
    codes: NDArray[np.float64]

    def __add__(self, other: Accumulator) -> Accumulator:
        codes = np.asarray(self.codes + other.codes, np.float64)
        return Accumulator(
            self.loss + other.loss, self.correct + other.correct, self.count + other.count, codes
        )

    @staticmethod
    def none() -> Accumulator:
        """Of no frames."""
        return Accumulator(0.0, 0, 0, np.zeros(()))

    @staticmethod
    def total(accumulators: Iterable[Accumulator]) -> Accumulator:
        """The sum, in the order given."""
        return sum(accumulators, start=Accumulator.none())

    @property
    def mean_loss(self) -> float:
        """Nats a masked frame; nan if there is none."""
        return self.loss / self.count if self.count else float("nan")

    def metrics(self, split: str) -> Metrics:
        """Loss (nats a masked frame), contrastive accuracy and codebook perplexity; none of nothing."""
        if not self.count:
            return []
        shares = self.codes / self.codes.sum(axis=-1, keepdims=True)
        logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
        return [
            ("loss", split, self.loss / self.count),
            ("contrastive_accuracy", split, self.correct / self.count),
            ("codebook_perplexity", split, float(np.exp(-(shares * logs).sum(axis=-1)).sum())),
        ]
