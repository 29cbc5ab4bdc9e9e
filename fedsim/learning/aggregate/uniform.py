"""The plain mean: every update weighs the same."""

from __future__ import annotations

from fedsim.learning.aggregate.mean import WeightedMean


class Uniform(WeightedMean):
    """Weight 1 / n."""

    def weigh(self, examples: float, loss: float) -> float:
        """One."""
        return 1.0
