"""Random selection: a uniform sample of the clients that are online."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedsim import rng
from fedsim.engine.availability_cache import AvailabilityCache
from fedsim.engine.selection.base import Memoryless, Sampler, Selection, SelectionRequest, Selector
from fedsim.engine.selection.drawn import Drawn
from fedsim.engine.world import Ints, World
from fedsim.options import kind


@dataclass(frozen=True)
class Random(Selection):
    """Each online client is as likely as any other."""

    adaptive = False
    policy: Literal["random"] = kind("random")

    def begin(self, world: World, availability: AvailabilityCache, seed: int) -> Selector:
        """A selector for one simulation."""
        return _Random(Sampler(world, availability, rng.key(seed, "selection", "random")))


class _Random(Memoryless):
    def __init__(self, sampler: Sampler):
        self.sampler = sampler

    def choose(self, request: SelectionRequest) -> Ints:
        return self.sampler.sample(request)

    def drawn(self) -> Drawn | None:
        return self.sampler.drawn()
