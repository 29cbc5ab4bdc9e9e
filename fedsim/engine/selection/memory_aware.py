"""Memory-aware: a random sample of the online clients whose memory is free enough as they are asked.

A client that fits now may still run out later, when its owner opens something.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedsim import rng
from fedsim.engine.availability_cache import AvailabilityCache
from fedsim.engine.selection.base import Memoryless, Sampler, Selection, SelectionRequest, Selector
from fedsim.engine.selection.drawn import Drawn
from fedsim.engine.world import Bools, Floats, Ints, World
from fedsim.options import kind


@dataclass(frozen=True)
class MemoryAware(Selection):
    """Clients say what memory they have free, and who would run out at once is passed over."""

    adaptive = False
    policy: Literal["memory-aware"] = kind("memory-aware")

    def begin(self, world: World, availability: AvailabilityCache, seed: int) -> Selector:
        """A selector for one simulation."""
        return _MemoryAware(world, Sampler(world, availability, rng.key(seed, "selection", "memory-aware")))


class _MemoryAware(Memoryless):
    def __init__(self, world: World, sampler: Sampler):
        self.world = world
        self.sampler = sampler

    def choose(self, request: SelectionRequest) -> Ints:
        def fits(clients: Ints) -> Bools:
            estimate = self.world.estimate(clients, request.round_index, request.time_s)
            return estimate.footprint_bytes <= estimate.available_bytes

        return self.sampler.sample(request, fits)

    def drawn(self) -> Drawn | None:
        def fits(clients: Ints, round_index: Ints, time_s: Floats) -> Bools:
            estimate = self.world.estimate(clients, round_index, time_s)
            return estimate.footprint_bytes <= estimate.available_bytes

        return self.sampler.drawn(fits)
