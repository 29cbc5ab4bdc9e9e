"""Asynchronous rounds of a real fleet: many ends at a time give the same bytes as one by one."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import numpy as np
import pytest

from fedsim.engine import ClientRounds, Simulation
from fedsim.run import compose
from fedsim.scenario import load

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


@pytest.mark.parametrize("select", ["random", "memory-aware"])
def test_many_ends_at_a_time_are_as_one_by_one(tmp_path, select):
    file = tmp_path / "windows.yaml"
    file.write_text(SCENARIO)
    composition = compose(load(file, [f"rounds.select={select}"]).scenario)
    plan = replace(composition.plan, server_down_bytes_per_s=math.inf, server_up_bytes_per_s=math.inf)
    many, single = Simulation(composition.world, plan), Simulation(composition.world, plan)
    single._server.windows = None
    both = list(many), list(single)
    assert many._server.windows.worked_through > 100
    assert [r.end_s for r in both[0]] == [r.end_s for r in both[1]]
    for one, other in zip(*both, strict=True):
        for field in fields(ClientRounds):
            columns = (getattr(r.clients, field.name) for r in (one, other))
            assert np.array_equal(*columns, equal_nan=True), (one.index, field.name)
