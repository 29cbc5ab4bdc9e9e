"""Whose updates were accepted so far, by way: who trained which layer, and who never did."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from fedsim.errors import RunError
from fedsim.learning.parts import Parts


class Delivered:
    """Accepted updates.

    Args:
        parts: what each way sends.

    Attributes:
        updates: how many there were, by way.
        clients: of whom, by way.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.updates = [0] * len(parts.ways)
        self.clients: list[set[int]] = [set() for _ in parts.ways]

    def note(self, way: int, client: int) -> None:
        """An update was accepted."""
        self.updates[way] += 1
        self.clients[way].add(client)

    def rows(self, blocks: Collection[str], fleet: int) -> list[dict[str, Any]]:
        """Coverage by layer; see :meth:`FederatedLearner.coverage`.

        Args:
            blocks: paths of the model's repeated blocks.
            fleet: how many clients there are.
        """
        group_of = {name: group for group in self._parts.groups for name in group.names}
        numbers: dict[tuple[str, tuple[int, ...]], int] = {}
        for name in self._parts.shapes:
            row = (_layer(name, blocks), group_of[name].ways)
            numbers[row] = numbers.get(row, 0) + self._parts.size(name)
        return [
            {"layer": layer, "numbers": count, **self._sent(ways, fleet)}
            for (layer, ways), count in numbers.items()
        ]

    def _sent(self, ways: tuple[int, ...], fleet: int) -> dict[str, int]:
        clients = len(set().union(*(self.clients[way] for way in ways)))
        return {
            "updates": sum(self.updates[way] for way in ways),
            "clients": clients,
            "never": fleet - clients,
        }

    def text(self) -> str:
        """For a checkpoint."""
        return json.dumps([self.updates, [sorted(clients) for clients in self.clients]])

    def restore(self, text: str, file: Path) -> None:
        """Take back what :meth:`text` gave.

        Raises:
            RunError: it is something else.
        """
        try:
            updates, clients = json.loads(text)
            sets = [{_whole(client) for client in of} for of in clients]
            counts = [_whole(count) for count in updates]
        except (ValueError, TypeError, RecursionError):
            sets, counts = [], []
        if len(sets) != len(self.updates) or len(counts) != len(self.updates):
            raise RunError("is damaged: its list of delivered updates cannot be read", file=file)
        self.updates, self.clients = counts, sets


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(value)
    return value


def _layer(name: str, blocks: Collection[str]) -> str:
    """The block that a tensor is in, or the module that it belongs to."""
    for block in blocks:
        if name.startswith(f"{block}."):
            return block
    return name.rpartition(".")[0]
