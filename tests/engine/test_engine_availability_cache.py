"""What is remembered about who is online is what the world would answer, in any order of asking."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine_naive import random_world

from fedsim.engine.availability_cache import AvailabilityCache


@pytest.mark.parametrize("once", [False, True])
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_availability_cache_is_what_the_world_would_answer(once, seed):
    world, draw = random_world(seed, False), np.random.default_rng(seed)
    availability = AvailabilityCache(world)
    if once:
        availability.ask_once_while_offline()
    edges = [t for member in world.members for span in member.away for t in span]
    for _ in range(12):
        clients = draw.integers(0, world.clients, 9)
        # Now and then exactly at an instant at which somebody comes or goes, and back in time.
        time_s = np.where(draw.random(9) < 0.3, draw.choice([0.0, *edges], 9), draw.uniform(0, 1300, 9))
        expected = world.offline_from_s(clients, time_s)
        assert availability.until_s(clients, time_s).tolist() == expected.tolist()
        one = float(time_s[0])
        expected = world.offline_from_s(clients, np.full(9, one))
        assert availability.until_s(clients, one).tolist() == expected.tolist()
