"""Fastest-first: of a random pool of online clients, those who would take the least time.

A server cannot ask a million clients how fast they are in every round; it asks a pool, as FedCS
does (Nishio and Yonetani, "Client Selection for Federated Learning with Heterogeneous Resources in
Mobile Edge", ICC 2019).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from fedsim import rng
from fedsim.engine.availability_cache import AvailabilityCache
from fedsim.engine.link import alone_s
from fedsim.engine.selection.base import Memoryless, Sampler, Selection, SelectionRequest, Selector
from fedsim.engine.world import Floats, Ints, WorkEstimate, World
from fedsim.options import kind, option


@dataclass(frozen=True)
class FastestFirst(Selection):
    """The fastest of a pool."""

    adaptive = False
    pool: int = option(5, "how many clients are asked for each that is wanted", ge=1)
    policy: Literal["fastest-first"] = kind("fastest-first")

    def begin(self, world: World, availability: AvailabilityCache, seed: int) -> Selector:
        """A selector for one simulation."""
        sampler = Sampler(world, availability, rng.key(seed, "selection", "fastest-first"))
        return _FastestFirst(world, sampler, self.pool)


class _FastestFirst(Memoryless):
    def __init__(self, world: World, sampler: Sampler, pool: int):
        self.world = world
        self.sampler = sampler
        self.pool = pool

    def choose(self, request: SelectionRequest) -> Ints:
        asked = self.sampler.sample(replace(request, count=self.pool * request.count))
        if not asked.size:
            return asked
        takes_s = expected_s(self.world.estimate(asked, request.round_index, request.time_s))
        return asked[np.lexsort((asked, takes_s))][: request.count]


def expected_s(estimate: WorkEstimate) -> Floats:
    """Seconds each client would take if nothing stopped it and the server's link were wide enough."""
    down_s = estimate.latency_s + alone_s(estimate.download_bytes, estimate.down_bytes_per_s)
    up_s = estimate.latency_s + alone_s(estimate.upload_bytes, estimate.up_bytes_per_s)
    return down_s + estimate.startup_s + estimate.compute_s + up_s
