"""``fedsim run --engine flower``: a run whose clients are trained on Flower's simulation engine.

Flower wants to be in charge: it starts the server in a thread and its clients on Ray. So the whole
run, clock and writer and all, is the ServerApp, and the learner's jobs are messages to ClientApps.
A supernode is a place where any client can be trained, two for each worker.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from fedsim.errors import FedsimError, ScenarioError
from fedsim.flower import require
from fedsim.simulation.compose import Composition
from fedsim.simulation.execute import Adapt

Do = Callable[[Adapt], Path]


def on_flower(do: Do, workers: int) -> Path:
    """Do a run with its clients on Flower's engine.

    Args:
        do: the run, given what must be changed in it once it is composed.
        workers: clients trained at once, each on one CPU.

    Raises:
        InputError: if Flower is missing, or the scenario has nothing to train.
        FedsimError: if the engine stops before the run is done; what the run itself raises.
    """
    require()
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from flwr.serverapp import ServerApp
        from flwr.simulation import run_simulation

        from fedsim.flower.executor import FlowerPool, client_app
    logging.getLogger("flwr").setLevel(logging.ERROR)
    stopped = threading.Event()
    made: list[Path] = []
    faults: list[BaseException] = []
    app = ServerApp()

    @app.main()
    def main(grid: Any, context: Any) -> None:
        def pool(spec: Any, seed: int, versions: int, size: int, workers: int) -> Any:
            return FlowerPool(spec, seed, versions, size, grid, stopped)

        def adapt(composition: Composition) -> Composition:
            if composition.learner is None:
                raise ScenarioError(
                    "--engine flower trains clients on Flower, and this scenario trains nobody; give it a "
                    "learning block, or leave out --engine"
                )
            return replace(composition, learner=partial(composition.learner, make_pool=pool))

        try:
            made.append(do(adapt))
        except BaseException as fault:
            faults.append(fault)

    try:
        run_simulation(
            server_app=app,
            client_app=client_app(),
            num_supernodes=2 * workers,
            backend_config={"client_resources": {"num_cpus": 1}, "init_args": {"num_cpus": workers}},
        )
    except Exception as fault:
        said = str(fault).splitlines()
        raise FedsimError(f"Flower's engine stopped: {said[0] if said else type(fault).__name__}") from None
    finally:
        stopped.set()
    if faults:
        raise faults[0]
    return made[0]
