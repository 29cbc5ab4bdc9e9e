"""What the server does with the aggregated step: takes it, or feeds it to an optimizer of its own.

FedAdam and FedYogi: Reddi et al., "Adaptive federated optimization" (ICLR 2021), algorithm 2,
with the mean update as the pseudo-gradient; no bias correction, as there.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fedsim.learning.aggregate.mean import Vector


class Server:
    """Turns the mean update of a round into the change of the global model.

    Args:
        kind: ``plain``, ``adam`` or ``yogi``.
        size: number of parameters.
        rate: the server's learning rate.
        betas: decay of the two moments.
        tau: adaptivity; added to the root of the second moment.
    """

    def __init__(
        self, kind: str, size: int, rate: float, betas: tuple[float, float] = (0.9, 0.99), tau: float = 1e-3
    ) -> None:
        self.kind, self.rate, self.betas, self.tau = kind, rate, betas, tau
        adaptive = kind != "plain"
        self.first = np.zeros(size if adaptive else 0)
        self.second = np.full(size if adaptive else 0, tau**2)

    def change(self, step: Vector) -> Vector:
        """The change of the model for a mean update, float64[size]; updates the moments."""
        if self.kind == "plain":
            return step
        beta_1, beta_2 = self.betas
        self.first = beta_1 * self.first + (1 - beta_1) * step
        square = step**2
        if self.kind == "adam":
            self.second = beta_2 * self.second + (1 - beta_2) * square
        else:
            self.second = self.second - (1 - beta_2) * square * np.sign(self.second - square)
        return np.asarray(self.rate * self.first / (np.sqrt(self.second) + self.tau))

    def state(self) -> dict[str, Vector]:
        """What a checkpoint must hold."""
        return {} if self.kind == "plain" else {"first": self.first, "second": self.second}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Take back what :meth:`state` gave."""
        if self.kind != "plain":
            self.first = np.array(state["first"], np.float64)
            self.second = np.array(state["second"], np.float64)
