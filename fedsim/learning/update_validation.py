"""The server's door: each update of a round is checked, decompressed, and handed to the rule.

Whatever is sent, the model stays finite: what is malformed, not finite or too large is turned away and
leaves no trace, and what is let in has a bounded norm (:mod:`fedsim.learning.aggregate.check`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim.learning.aggregate.base import Rule, Vector
from fedsim.learning.aggregate.check import fault
from fedsim.learning.federation import Federation
from fedsim.learning.parts import Parts


class UpdateValidation:
    """One round's updates, all of the same numbers.

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
        self._federation, self._length = federation, length

    @cached_property
    def _rule(self) -> Rule:
        return _rule(self._federation, self._length)

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
        update = self.received(weights, base, loss)
        if update is None:
            return False
        self._rule.add(update, examples, loss, late)
        return True

    def received(self, weights: NDArray[Any], base: NDArray[np.float32], loss: float) -> Vector | None:
        """An update as the server receives it, float64[length]; None if something is wrong with it."""
        if self.fault(weights, base, loss) is not None:
            return None
        update = weights.astype(np.float64) - base
        head = slice(0, self._parameters)  # optimizer state travels as it is
        update[head] = self._compression.compress(update[head], self._sizes)
        return update

    def finish(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The step float64[length], and the shares float64[n] of those taken in."""
        return self._rule.finish()


class ByWay:
    """One round's updates, each of what its client's way sends.

    The rule is run for each group of tensors over the updates that hold it, as if there were no others.

    Args:
        federation: names the rule and the compression.
        parts: what each way sends.
        largest_norm: of an update.
    """

    def __init__(self, federation: Federation, parts: Parts, largest_norm: float) -> None:
        self._parts = parts
        self._doors = [
            UpdateValidation(federation, part.sizes, part.whole.size, largest_norm) for part in parts.ways
        ]
        self._rules = [_rule(federation, group.whole.size) for group in parts.groups]
        self._ways: list[int] = []

    def offer(
        self,
        weights: NDArray[Any],
        base: NDArray[np.float32],
        way: int,
        examples: float,
        loss: float,
        late: int,
    ) -> bool:
        """Take in an update unless something is wrong with it; whether it was taken in.

        Args:
            way: in which the client trained; ``weights`` and ``base`` are its part of the vector.
            weights, base, examples, loss, late: as :meth:`UpdateValidation.offer` takes them.
        """
        update = self._doors[way].received(weights, base, loss)
        if update is None:
            return False
        for group, rule in zip(self._parts.groups, self._rules, strict=True):
            if way in group.within:
                rule.add(group.within[way].of(update), examples, loss, late)
        self._ways.append(way)
        return True

    def finish(self) -> tuple[Vector, Vector]:
        """The step float64[length], NaN where nobody sent any, and the shares float64[n] of those taken in.

        An update's share is the mean of its shares over the numbers of the model that it holds.
        """
        if len(self._rules) == 1:
            return self._rules[0].finish()
        step = np.full(self._parts.length, np.nan)
        shares, numbers = np.zeros(len(self._ways)), np.zeros(len(self._ways))
        for group, rule in zip(self._parts.groups, self._rules, strict=True):
            senders = [position for position, way in enumerate(self._ways) if way in group.within]
            if senders:
                own, found = rule.finish()
                group.whole.put(step, own)
                shares[senders] += found * group.parameters
                numbers[senders] += group.parameters
        return step, shares / np.maximum(numbers, 1.0)


def _rule(federation: Federation, size: int) -> Rule:
    return federation.aggregate.rule(size, federation.learning.staleness_exponent)
