"""A run of a Flower app repeats itself, and what it draws is drawn from generators of its own."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import threading
from pathlib import Path
from random import random as by_name

import numpy as np
import pytest
from flwr.serverapp.strategy import FedAvg

import fedsim
from fedsim.flower import Fleet
from fedsim.flower.chance import own_generators

APP = Path(__file__).with_name("repeat_app.py")


def draws():
    return (
        random.random(),
        random.sample(range(100), 3),
        np.random.normal(),
        np.random.permutation(5).tolist(),
    )


def test_what_is_drawn_depends_on_the_seed_and_the_purpose_alone():
    found = []
    for before in (1, 2):
        random.seed(before)
        np.random.seed(before)
        with own_generators(7, "configure_train", 1):
            found.append((by_name(), *draws()))
    assert found[0] == found[1]
    for seed, *names in ((8, "configure_train", 1), (7, "configure_evaluate", 1), (7, "configure_train", 2)):
        with own_generators(seed, *names):
            assert not set(map(str, draws())) & set(map(str, found[0]))


def test_others_are_left_as_they_were():
    functions = dict(vars(random)), dict(vars(np.random))
    random.seed(3)
    np.random.seed(3)
    expected = draws()
    random.seed(3)
    np.random.seed(3)
    with contextlib.suppress(KeyError), own_generators(7, "x"):
        draws()
        raise KeyError
    assert draws() == expected
    assert (dict(vars(random)), dict(vars(np.random))) == functions


def test_another_thread_draws_from_its_own():
    def drawing(stopped, begun):
        while not stopped.is_set():
            draws()
            begun.set()

    with own_generators(7, "x"):
        expected = [draws() for _ in range(200)]
    stopped, begun = threading.Event(), threading.Event()
    other = threading.Thread(target=drawing, args=(stopped, begun))
    with own_generators(7, "x"):
        other.start()
        begun.wait()
        found = [draws() for _ in range(200)]
    stopped.set()
    other.join()
    assert found == expected


class Watching(FedAvg):
    """Notes whom it sees and hears."""

    def __init__(self, **options):
        super().__init__(**options)
        self.saw, self.heard = [], []

    def configure_evaluate(self, server_round, arrays, config, grid):
        self.saw.append((list(grid.get_node_ids()), [node.node_id for node in grid.get_nodes()]))
        for _ in range(2):  # two questions to each client
            yield from super().configure_evaluate(server_round, arrays, config, grid)

    def aggregate_evaluate(self, server_round, replies):
        self.heard.append([reply.metadata.src_node_id for reply in replies])


def test_evaluation_sees_nodes_and_replies_in_the_order_of_clients(tmp_path, scenario, local_grid, initial):
    grid = local_grid()
    strategy = Watching(fraction_evaluate=1.0)
    Fleet(scenario(), out=tmp_path / "a", report=False).wrap(strategy).start(
        grid=grid, initial_arrays=initial, num_rounds=2
    )
    assert grid.ids != sorted(grid.ids)
    assert strategy.saw == [(grid.ids, grid.ids)] * 2
    assert strategy.heard == [[node for node in grid.ids for _ in range(2)]] * 2


def test_whoever_is_drawn_depends_on_the_seed_of_the_scenario(tmp_path, scenario, local_grid, initial):
    path, found = scenario(), {}
    for name, seed, globally in (("a", 1, 1), ("b", 1, 2), ("c", 2, 1)):
        random.seed(globally)
        fleet = Fleet(
            path, out=tmp_path / name, report=False, changes={"seed": seed, "fleet.mix[0].speed_spread": 0}
        )
        grid = local_grid()
        fleet.wrap(FedAvg(fraction_train=0.5)).start(grid=grid, initial_arrays=initial, num_rounds=6)
        found[name] = grid.trained
    assert found["a"] == found["b"] != found["c"]


def alike(tmp_path, path, processes, *more):
    """The tables and what was said of some processes; all must be the same."""
    runs = []
    for number in range(processes):
        out = tmp_path / f"run-{number}"
        said = subprocess.run(
            [sys.executable, str(APP), path, str(out), *more],
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
            env={**os.environ, "FLWR_TELEMETRY_ENABLED": "0", "OMP_NUM_THREADS": "1"},
        )
        assert said.returncode == 0, said.stderr
        tables = [(out / f"{name}.parquet").read_bytes() for name in ("rounds", "clients", "convergence")]
        runs.append((tables, [line for line in said.stdout.splitlines() if line.startswith("told")]))
    assert all(run == runs[0] for run in runs)
    assert len(fedsim.load(tmp_path / "run-0").rounds) == 4


def test_two_processes_give_the_same_bytes(tmp_path, scenario):
    alike(tmp_path, scenario(), 2)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("more", [[], ["4"]], ids=["local", "engine"])
def test_five_processes_give_the_same_bytes(tmp_path, scenario, more):
    alike(tmp_path, scenario(4 if more else 6), 5, *more)
