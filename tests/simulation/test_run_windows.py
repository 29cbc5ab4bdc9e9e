"""Asynchronous rounds of a real fleet: many ends at a time give the same bytes as one by one."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import numpy as np
import pytest

from fedsim.engine.records import ClientRounds
from fedsim.engine.server import Simulation
from fedsim.scenario import load
from fedsim.simulation import compose

SCENARIO = """
name: windows
seed: 3
fleet:
  clients: 700
  mix:
    - {device: jetson-xavier-nx, share: 0.3, link: wifi, speed_spread: 0.1}
    - device: macbook-pro-2019
      share: 0.4
      link: wifi
      availability: {kind: markov, mean_online: 6h, mean_offline: 4h}
      pressure: laptop
      crashes_per_day: 1
    - {device: snapdragon-870, share: 0.3, link: lte, availability: overnight, pressure: phone}
workload: {utterances: 20}
training: {model: wav2vec2-base, precision: mixed, batch_size: 4}
rounds: {count: 12, cohort: 80, close: {policy: async, buffer: 15}}
"""


@pytest.fixture
def simulation(tmp_path):
    """Makes simulations of the scenario with a wide server link, from the beginning or from a state."""
    file = tmp_path / "windows.yaml"
    file.write_text(SCENARIO)

    def simulation(select, state=None):
        composition = compose(load(file, [f"rounds.select={select}"]).scenario)
        plan = replace(composition.plan, server_down_bytes_per_s=math.inf, server_up_bytes_per_s=math.inf)
        return Simulation(composition.world, plan, state=state)

    return simulation


def same(some, others):
    assert [r.end_s for r in some] == [r.end_s for r in others]
    for one, other in zip(some, others, strict=True):
        for field in fields(ClientRounds):
            columns = (getattr(r.clients, field.name) for r in (one, other))
            assert np.array_equal(*columns, equal_nan=True), (one.index, field.name)


@pytest.mark.parametrize("select", ["random", "memory-aware"])
def test_many_ends_at_a_time_are_as_one_by_one(simulation, select):
    many, single = simulation(select), simulation(select)
    single._process.windows = None
    same(list(many), list(single))
    assert many._process.windows.worked_through > 100


def test_from_the_middle_of_a_window_it_goes_on_as_if_it_had_never_stopped(simulation):
    whole, states, inside = [], [], []
    undisturbed = simulation("random")
    for record in undisturbed:
        whole.append(record)
        states.append(undisturbed.state())
        inside.append(undisturbed._process.windows._inside is not None)
    assert sum(inside) > 3
    for stop in np.flatnonzero(inside)[[0, 1, -1]] + 1:
        same(list(simulation("random", states[stop - 1])), whole[stop:])
