"""Models of one kind asked together: a fleet's groups may differ in their figures alone.

A kind of model that can be asked so has a static method ``together(models)``; what that gives, called
with ``which``, is a model whose figures are arrays: row ``k`` has those of ``models[which[k]]``. Any
other model is asked about the clients of its own groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from fedsim.fleet.who import Ints

Model = TypeVar("Model")
Rows = slice | NDArray[np.intp]
EVERYONE = slice(None)


def stacked(models: Sequence[Model]) -> Callable[[Ints], Model]:
    """``together`` of models all of whose options are numbers, which may as well be arrays."""
    kind: Any = type(models[0])
    names = _numbers(kind)
    figures = np.array([[getattr(model, name) for name in names] for model in models]).T
    return lambda which: kind(*figures[:, which])


def take(model: Model, rows: NDArray[np.intp]) -> Model:
    """A stacked model for some of its clients; one that has one row, or none, answers for everybody."""
    kind: Any = type(model)
    figures = [getattr(model, name) for name in _numbers(kind)]
    return kind(*(figure[rows] for figure in figures)) if np.size(figures[0]) > 1 else model


def _numbers(kind: Any) -> list[str]:
    return [field.name for field in fields(kind) if field.name != kind.key]


def alone(model: Any) -> Any:
    """A model that can be asked, of one."""
    return model.together([model])(np.zeros(1, dtype=np.int64)) if hasattr(model, "together") else model


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
        self._alone = [alone(members[0]) for members in self._members]
        self._together: list[Callable[[Ints], Model] | None] = [
            type(members[0]).together(members) if len(members) > 1 else None  # type: ignore[attr-defined]
            for members in self._members
        ]

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
        asked = self._together[family]
        return self._alone[family] if asked is None else asked(self._place[group])
