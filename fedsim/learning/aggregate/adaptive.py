"""FedAdam and FedYogi: the server feeds the mean update to an optimizer of its own.

Reddi et al., "Adaptive federated optimization" (ICLR 2021), algorithm 2, with the mean update as the
pseudo-gradient; no bias correction, as there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fedsim.learning.aggregate.base import Aggregation, Rule, Server, Vector
from fedsim.learning.aggregate.fedavg import ByExamples
from fedsim.options import kind, option

BETAS = (0.9, 0.99)  # decay of the two moments
TAU = 1e-3  # adaptivity; added to the root of the second moment


def adam(second: Vector, square: Vector) -> Vector:
    """The second moment of Adam."""
    return BETAS[1] * second + (1 - BETAS[1]) * square


def yogi(second: Vector, square: Vector) -> Vector:
    """The second moment of Yogi."""
    return np.asarray(second - (1 - BETAS[1]) * square * np.sign(second - square))


class Adaptive(Server):
    """Moments of the mean update.

    Args:
        size: numbers in the model.
        rate: the server's learning rate.
        following: the second moment after the square of an update.
    """

    def __init__(self, size: int, rate: float, following: Callable[[Vector, Vector], Vector]) -> None:
        self.rate, self.following = rate, following
        self.first, self.second = np.zeros(size), np.full(size, TAU**2)

    def change(self, step: Vector) -> Vector:
        self.first = BETAS[0] * self.first + (1 - BETAS[0]) * step
        self.second = self.following(self.second, step**2)
        return np.asarray(self.rate * self.first / (np.sqrt(self.second) + TAU))

    def state(self) -> dict[str, Vector]:
        return {"first": self.first, "second": self.second}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        self.first = np.array(state["first"], np.float64)
        self.second = np.array(state["second"], np.float64)


@dataclass(frozen=True)
class FedAdam(Aggregation):
    """FedAvg, then Adam on the server."""

    server_rate: float = option(3e-3, "the server's learning rate", gt=0)
    kind: Literal["fedadam"] = kind("fedadam")

    def rule(self, size: int, staleness_exponent: float) -> Rule:
        return ByExamples(size, staleness_exponent)

    def server(self, size: int) -> Server:
        return Adaptive(size, self.server_rate, adam)


@dataclass(frozen=True)
class FedYogi(Aggregation):
    """FedAvg, then Yogi on the server."""

    server_rate: float = option(3e-3, "the server's learning rate", gt=0)
    kind: Literal["fedyogi"] = kind("fedyogi")

    def rule(self, size: int, staleness_exponent: float) -> Rule:
        return ByExamples(size, staleness_exponent)

    def server(self, size: int) -> Server:
        return Adaptive(size, self.server_rate, yogi)
