"""Memory-aware: a random sample of the online clients whose memory is free enough as they are asked.

A client that fits now may still run out later, when its owner opens something.
"""

from __future__ import annotations

from dataclasses import dataclass

from fedsim import rng
from fedsim.engine.presence import Presence
from fedsim.engine.selection.base import Memoryless, Sampler, Selector, Turn
from fedsim.engine.selection.drawn import Drawn
from fedsim.engine.world import Bools, Floats, Ints, World


@dataclass(frozen=True)
class MemoryAware:
    """Clients say what memory they have free, and who would run out at once is passed over."""

    def begin(self, world: World, presence: Presence, seed: int) -> Selector:
        """A selector for one simulation."""
        return _MemoryAware(world, Sampler(world, presence, rng.key(seed, "selection", "memory-aware")))


class _MemoryAware(Memoryless):
    def __init__(self, world: World, sampler: Sampler):
        self.world = world
        self.sampler = sampler

    def choose(self, turn: Turn) -> Ints:
        def fits(clients: Ints) -> Bools:
            quote = self.world.quote(clients, turn.round_index, turn.time_s)
            return quote.footprint_bytes <= quote.available_bytes

        return self.sampler.sample(turn, fits)

    def drawn(self) -> Drawn | None:
        def fits(clients: Ints, round_index: Ints, time_s: Floats) -> Bools:
            quote = self.world.quote(clients, round_index, time_s)
            return quote.footprint_bytes <= quote.available_bytes

        return self.sampler.drawn(fits)
