"""FedAvg: updates weighted by the number of examples trained on.

McMahan et al., "Communication-efficient learning of deep networks from decentralized data"
(AISTATS 2017), algorithm 1.
"""

from __future__ import annotations

from fedsim.learning.aggregate.mean import WeightedMean


class FedAvg(WeightedMean):
    """Weight n_k / sum of n."""

    def weigh(self, examples: float, loss: float) -> float:
        """The number of examples."""
        return examples
