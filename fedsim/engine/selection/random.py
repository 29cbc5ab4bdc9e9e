"""Random selection: a uniform sample of the clients that are online."""

from __future__ import annotations

from dataclasses import dataclass

from fedsim import rng
from fedsim.engine.selection.base import Memoryless, Selector, Turn, sample
from fedsim.engine.world import Ints, World


@dataclass(frozen=True)
class Random:
    """Each online client is as likely as any other."""

    def begin(self, world: World, seed: int) -> Selector:
        """A selector for one simulation."""
        return _Random(world, rng.key(seed, "selection", "random"))


class _Random(Memoryless):
    def __init__(self, world: World, stream: int):
        self.world = world
        self.stream = stream

    def choose(self, turn: Turn) -> Ints:
        return sample(self.world, self.stream, turn)
