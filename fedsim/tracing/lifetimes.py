"""Storages from allocation to release, on the clock of operators."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(slots=True)
class Storage:
    """A storage's life: ``born`` and ``died`` count the operators before it, died -1 while it lives."""

    nbytes: int
    born: int
    died: int = -1
    grad: bool = False
    saved: bool = False


class Lifetimes:
    """Follows storages by their identity, which is free again once they are released.

    Args:
        released: told the identity of each storage that is released.
    """

    def __init__(self, released: Callable[[int], None]):
        self.clock = 0
        self.all: list[Storage] = []
        self.alive: dict[int, Storage] = {}
        self._released = released

    def follow(self, storage: torch.UntypedStorage) -> Storage:
        """Start to follow a storage that was just allocated."""
        key = storage._cdata
        record = Storage(storage.nbytes(), self.clock)
        self.alive[key] = record
        self.all.append(record)
        weakref.finalize(storage, self._died, key, record).atexit = False
        return record

    def _died(self, key: int, record: Storage) -> None:
        record.died = self.clock
        if self.alive.get(key) is record:
            del self.alive[key]
            self._released(key)

    def live_bytes(self) -> list[int]:
        """Bytes alive at every tick of the clock, without gradients of parameters."""
        change = [0] * (self.clock + 2)
        for record in self.all:
            if not record.grad:
                change[record.born] += record.nbytes
                change[record.died if record.died >= 0 else self.clock] -= record.nbytes
        live, found = 0, []
        for tick in range(self.clock):
            live += change[tick]
            found.append(live)
        return found
