"""Which stretches of the vector that travels belong to which way, and who shares them.

The vector (:mod:`fedsim.learning.state`) is made of tensors end to end: those that any way trains. Tensors
that the same ways train form a group; a coordinate is averaged over those who sent its group.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from fedsim.learning import vector
from fedsim.learning.aggregate.base import Kept
from fedsim.learning.inserted import plain
from fedsim.learning.options import Learning
from fedsim.learning.partial import Ways
from fedsim.learning.state import length
from fedsim.learning.stretches import Stretches


@dataclass(frozen=True)
class Part:
    """A part of what travels.

    Attributes:
        names: of its tensors.
        sizes: their lengths.
        model: its places among the numbers of the model.
        whole: its places in the vector, optimizer state included.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    model: Stretches
    whole: Stretches

    @property
    def parameters(self) -> int:
        """Its numbers of the model."""
        return self.model.size

    def of_each(self, vectors: Kept) -> Kept:
        """Its part of vectors as long as the model."""
        return {name: self.model.of(values) for name, values in vectors.items()}


@dataclass(frozen=True)
class Group(Part):
    """Tensors that the same ways train.

    Attributes:
        ways: which, from 0.
        within: by way, the group's places in the way's own vector.
    """

    ways: tuple[int, ...]
    within: dict[int, Stretches]


class Parts:
    """The vector of a federation, the part of each way, and the groups that these parts have in common.

    Args:
        model: prepared for the ways (:meth:`Ways.prepared`).
        ways: of the federation.
        learning: whether optimizer state travels.

    Attributes:
        shapes: of the tensors of the model that travel, by name, in their order.
        parameters: how many numbers they are.
        length: of the vector.
        ways: the part of each.
        groups: every place of the vector is in one of them.
    """

    def __init__(self, model: Any, ways: Ways, learning: Learning) -> None:
        self.shapes = {plain(name): tuple(tensor.shape) for name, tensor in vector.travelling(model)}
        self._state = learning.optimizer_state == "averaged"
        self._places: dict[str, tuple[int, int]] = {}
        start = 0
        for name, shape in self.shapes.items():
            stop = start + int(np.prod(shape))
            self._places[name], start = (start, stop), stop
        self.parameters = start
        self.length = length(start, learning)
        sent: list[list[str]] = []
        for way in range(len(ways)):
            with ways.applied(model, way):
                sent.append([plain(name) for name, _ in vector.travelling(model)])
        self.ways = [self._part(names) for names in sent]
        self.groups = self._groups(sent)

    def size(self, name: str) -> int:
        """Numbers in a tensor."""
        start, stop = self._places[name]
        return stop - start

    def of(self, way: int) -> list[int]:
        """The groups of which a way's part consists."""
        return [number for number, group in enumerate(self.groups) if way in group.ways]

    def _part(self, names: Sequence[str], counts: bool = True) -> Part:
        """These tensors, and Adam's count of steps if state travels (``counts``)."""
        bounds = [self._places[name] for name in names]
        return Part(
            tuple(names),
            tuple(stop - start for start, stop in bounds),
            Stretches.joined(bounds),
            self._with_state(bounds, self.parameters, counts),
        )

    def _groups(self, sent: Sequence[Sequence[str]]) -> list[Group]:
        everybody = tuple(range(len(sent)))
        senders: dict[tuple[int, ...], list[str]] = {everybody: []} if self._state else {}  # Adam's count
        sets = [set(names) for names in sent]
        for name in self.shapes:
            ways = tuple(way for way, names in enumerate(sets) if name in names)
            senders.setdefault(ways, []).append(name)
        return [self._group(names, ways, ways == everybody) for ways, names in senders.items()]

    def _group(self, names: Sequence[str], ways: tuple[int, ...], counts: bool) -> Group:
        part, within = self._part(names, counts), {}
        for way in ways:
            own = self.ways[way]
            places = dict(zip(own.names, _end_to_end(own.sizes), strict=True))
            within[way] = self._with_state([places[name] for name in names], own.parameters, counts)
        return Group(part.names, part.sizes, part.model, part.whole, ways, within)

    def _with_state(self, bounds: Sequence[tuple[int, int]], parameters: int, counts: bool) -> Stretches:
        """Places of parameters; if state travels also those of their two moments, and of Adam's count."""
        if not self._state:
            return Stretches.joined(bounds)
        three = [(start + k * parameters, stop + k * parameters) for k in range(3) for start, stop in bounds]
        count = [(3 * parameters, 3 * parameters + 1)] if counts else []
        return Stretches.joined([*three, *count])


def _end_to_end(sizes: Iterable[int]) -> list[tuple[int, int]]:
    stops = np.cumsum([0, *sizes]).tolist()
    return list(pairwise(stops))
