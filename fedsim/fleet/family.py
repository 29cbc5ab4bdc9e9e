"""Models of one kind asked together: a fleet's groups may differ in their figures alone.

A kind of model that can be asked so has a static method ``merged(models, which)``, which gives a
model whose figures are arrays: row ``k`` has those of ``models[which[k]]``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
            kind: object = type(model) if hasattr(model, "merged") else model
            if kind not in kinds:
                kinds.append(kind)
                self._members.append([])
            family = kinds.index(kind)
            if model not in self._members[family]:
                self._members[family].append(model)
            places.append((family, self._members[family].index(model)))
        self._family = np.array([family for family, _ in places], dtype=np.int16)
        self._place = np.array([place for _, place in places], dtype=np.int64)

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
        members = self._members[family]
        if len(members) == 1:
            return members[0]
        which: Ints = self._place[group]
        kind: Any = type(members[0])
        merged: Model = kind.merged(members, which)
        return merged
