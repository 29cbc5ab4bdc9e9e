"""Models of one kind asked together: a fleet's groups may differ in their figures alone.

A kind of model that can be asked so has a static method ``together(models)``; what that gives, called
with ``which``, is a model whose figures are arrays: row ``k`` has those of ``models[which[k]]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from fedsim.fleet.who import Ints

Model = TypeVar("Model")
Rows = slice | NDArray[np.intp]
EVERYONE = slice(None)


class Families(Generic[Model]):
    """The models of a fleet's groups, put together by kind.

    Args:
        models: one for each group, in the order of the groups.
    """

    def __init__(self, models: Sequence[Model]):
        self._members: list[list[Model]] = []
        kinds: list[object] = []
        places = []
        for model in models:
            kind: object = type(model) if hasattr(model, "together") else model
            if kind not in kinds:
                kinds.append(kind)
                self._members.append([])
            family = kinds.index(kind)
            if model not in self._members[family]:
                self._members[family].append(model)
            places.append((family, self._members[family].index(model)))
        self._family = np.array([family for family, _ in places], dtype=np.int16)
        self._place = np.array([place for _, place in places], dtype=np.int64)
        self._together = [self._asker(members) for members in self._members]

    def split(self, group: NDArray[np.int16]) -> Iterator[tuple[Model, Rows]]:
        """Models to ask about clients of these groups, and the rows that each answers for."""
        if len(self._members) == 1:
            yield self._model(0, group), EVERYONE
            return
        family = self._family[group]
        for k in range(len(self._members)):
            rows = np.flatnonzero(family == k)
            if rows.size == group.size:
                yield self._model(k, group), EVERYONE
                return
            if rows.size:
                yield self._model(k, group[rows]), rows

    def _model(self, family: int, group: NDArray[np.int16]) -> Model:
        asker = self._together[family]
        return self._members[family][0] if asker is None else asker(self._place[group])

    @staticmethod
    def _asker(members: list[Model]) -> Callable[[Ints], Model] | None:
        """What makes one model of several; None for one alone."""
        kind: Any = type(members[0])
        return None if len(members) == 1 else kind.together(members)
