"""Fastest-first: of a random pool of online clients, those who would take the least time.

A server cannot ask a million clients how fast they are in every round; it asks a pool, as FedCS
does (Nishio and Yonetani, "Client Selection for Federated Learning with Heterogeneous Resources in
Mobile Edge", ICC 2019).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fedsim import rng
from fedsim.engine.link import alone_s
from fedsim.engine.presence import Presence
from fedsim.engine.selection.base import Memoryless, Sampler, Selector, Turn
from fedsim.engine.world import Floats, Ints, Quote, World


@dataclass(frozen=True)
class FastestFirst:
    """The fastest of a pool.

    Attributes:
        pool: how many clients are asked for each that is wanted.
    """

    pool: int = 5

    def __post_init__(self) -> None:
        if self.pool < 1:
            raise ValueError("a pool holds at least one client for each that is wanted")

    def begin(self, world: World, presence: Presence, seed: int) -> Selector:
        """A selector for one simulation."""
        sampler = Sampler(world, presence, rng.key(seed, "selection", "fastest-first"))
        return _FastestFirst(world, sampler, self.pool)


class _FastestFirst(Memoryless):
    def __init__(self, world: World, sampler: Sampler, pool: int):
        self.world = world
        self.sampler = sampler
        self.pool = pool

    def choose(self, turn: Turn) -> Ints:
        asked = self.sampler.sample(replace(turn, count=self.pool * turn.count))
        if not asked.size:
            return asked
        takes_s = expected_s(self.world.quote(asked, turn.round_index, turn.time_s))
        return asked[np.lexsort((asked, takes_s))][: turn.count]


def expected_s(quote: Quote) -> Floats:
    """Seconds each client would take if nothing stopped it and the server's link were wide enough."""
    down_s = quote.latency_s + alone_s(quote.download_bytes, quote.down_bytes_per_s)
    up_s = quote.latency_s + alone_s(quote.upload_bytes, quote.up_bytes_per_s)
    return down_s + quote.compute_s + up_s
