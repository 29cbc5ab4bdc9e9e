"""Memory-aware: a random sample of the online clients whose memory is free enough as they are asked.

A client that fits now may still run out later, when its owner opens something.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedsim import rng
from fedsim.engine.presence import Presence
from fedsim.engine.selection.base import Choices, Memoryless, Sampler, Selector, Turn, Turns
from fedsim.engine.world import Bools, Ints, World


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

    def choose_each(self, turns: Turns) -> Choices | None:
        def fits(clients: Ints, rows: NDArray[np.intp]) -> Bools:
            quote = self.world.quote(clients, turns.round_index[rows], turns.time_s[rows])
            return quote.footprint_bytes <= quote.available_bytes

        return self.sampler.sample_each(turns, fits)
