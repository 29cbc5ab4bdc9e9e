"""The server's door: each update of a round is checked, decompressed, and handed to the rule.

Whatever is sent, the model stays finite: what is malformed, not finite or too large is turned away and
leaves no trace, and what is let in has a bounded norm (:mod:`fedsim.learning.aggregate.check`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim.learning.aggregate.check import fault
from fedsim.learning.federation import Federation


class UpdateValidation:
    """One round's updates.

    Args:
        federation: names the rule and the compression.
        sizes: lengths of the model's tensors, end to end.
        length: of the vector that travels; optimizer state follows the parameters.
        largest_norm: of an update.
    """

    def __init__(
        self, federation: Federation, sizes: Sequence[int], length: int, largest_norm: float
    ) -> None:
        self._compression, self._sizes, self._largest_norm = federation.compression, sizes, largest_norm
        self._parameters = sum(sizes)
        self._rule = federation.aggregate.rule(length, federation.learning.staleness_exponent)

    def fault(self, weights: NDArray[Any], base: NDArray[np.float32], loss: float) -> str | None:
        """Why an update is rejected, or None; a count of Adam's steps is no part of its norm."""
        measured = 3 * self._parameters  # weights and Adam's moments, if those travel
        return fault(weights, base, loss, self._largest_norm, measured)

    def offer(
        self, weights: NDArray[Any], base: NDArray[np.float32], examples: float, loss: float, late: int
    ) -> bool:
        """Take in an update unless something is wrong with it; whether it was taken in.

        Args:
            weights: what the client sent.
            base: float32[length], what it was sent.
            examples: on how many it trained.
            loss: its mean training loss.
            late: rounds that the global model has moved on since.
        """
        if self.fault(weights, base, loss) is not None:
            return False
        update = weights.astype(np.float64) - base
        head = slice(0, self._parameters)  # optimizer state travels as it is
        update[head] = self._compression.compress(update[head], self._sizes)
        self._rule.add(update, examples, loss, late)
        return True

    def finish(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The step float64[length], and the shares float64[n] of those taken in."""
        return self._rule.finish()
