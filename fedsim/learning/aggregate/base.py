"""What an aggregation rule is: on the server, on the client, and in between.

A rule is frozen options with the methods below; most override :meth:`Aggregation.rule` alone. What
it keeps between rounds is in a :class:`Server`, what a client keeps between its rounds are flat vectors
that the server process holds for it; both are in checkpoints, so that a run can be taken up again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fedsim.options import Choice

Vector = NDArray[np.float64]
Kept = Mapping[str, NDArray[np.float32]]
"""Flat vectors by name, float32[size], as long as what travels."""


class Rule(ABC):
    """One round: takes in updates one at a time and says which step the global model takes."""

    @abstractmethod
    def add(self, update: Vector, examples: float, loss: float, staleness: int = 0) -> None:
        """Take in an accepted update.

        Args:
            update: float64[size], what the client sends less what it was sent.
            examples: on how many it trained.
            loss: its mean training loss.
            staleness: rounds that the global model has moved on since it was sent.
        """

    @abstractmethod
    def finish(self) -> tuple[Vector, Vector]:
        """The step float64[size] of the global model, and each update's share float64[n] (sum 1).

        Without updates, or if all weigh 0, the step is 0.
        """


class Server:
    """What the server does with a round's step, and what it remembers; by default nothing more."""

    def change(self, step: Vector) -> Vector:
        """The change of the model for the step of a round, float64[size]."""
        return step

    def sent(self) -> Kept:
        """What goes to clients beside the model: the vectors that the rule's ``sends`` names."""
        return {}

    def hear(self, changes: Mapping[str, Vector], clients: int) -> None:
        """Learn by how much what clients keep has changed.

        Args:
            changes: by name, the sum over the accepted clients of a round.
            clients: in the fleet.
        """

    def state(self) -> dict[str, Vector]:
        """What a checkpoint must hold."""
        return {}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Take back what :meth:`state` gave."""


class Aggregation(Choice):
    """How updates become the next global model.

    Attributes:
        sends: names of the vectors that the server sends beside the model, each as large as it.
        keeps: names of what each client keeps between its rounds, vectors that begin at 0; how they
            change goes back with the update, uncompressed.
        corrects: whether clients change their gradients (:meth:`correct`).
    """

    point = "aggregation rule"
    sends: ClassVar[tuple[str, ...]] = ()
    keeps: ClassVar[tuple[str, ...]] = ()
    corrects: ClassVar[bool] = False

    def rule(self, size: int, staleness_exponent: float) -> Rule:
        """A round of a model of ``size`` numbers; late updates weigh (1 + staleness)**-exponent as much."""
        raise NotImplementedError

    def server(self, size: int) -> Server:
        """What the server remembers of a model of ``size`` numbers, at the beginning of a run."""
        return Server()

    def correct(
        self, gradient: Any, weight: Any, anchor: Any, sent: Mapping[str, Any], kept: Mapping[str, Any]
    ) -> None:
        """Change the gradient of one tensor of the model, in place, before each local step.

        Args:
            gradient: a torch tensor.
            weight: the tensor as it is now, with the gradient's shape; likewise the others:
            anchor: as it was sent.
            sent: this tensor's part of what the server sent beside it.
            kept: this tensor's part of what the client keeps.
        """

    def keep(
        self,
        begin: NDArray[np.float32],
        end: NDArray[np.float32],
        steps: int,
        rate: float,
        sent: Kept,
        kept: Kept,
    ) -> Kept:
        """What a client keeps after a round.

        Args:
            begin: float32[size], the parameters as they were sent.
            end: float32[size], as they were trained.
            steps: optimizer steps taken.
            rate: the learning rate of the round.
            sent: what the server sent beside them.
            kept: what the client kept before.
        """
        return kept
