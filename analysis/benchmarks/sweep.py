"""How much does a sweep save by computing nothing twice, and how fast is a large one on the clock alone?

    python analysis/benchmarks/sweep.py [--json FILE] [--workers 2] [--rounds 6] [--skip-years]

The gain: the hardware years 2022 to 2032 with real training. The reference is the same 11 points, each
trained on its own. Years in which the same clients deliver are trained once; the bytes of every run
are compared. The second question: scenarios/sweeps/years.yaml, 110 points, whose reference is the
minute that the project sets itself; and the same sweep again, whose reference is the first time.
"""

# %% Setup
from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fedsim.scenario import sweep as sweeps
from fedsim.sweeps import Conclusion, start
from fedsim.sweeps.processes import Processes
from fedsim.sweeps.store import Store

LIMIT_S = 60.0
RUN_FILES = ("rounds.parquet", "clients.parquet", "convergence.parquet", "summary.json")
LEARNT = """
name: learnt-years
seed: 1
hardware: {{trend: gao2022}}
fleet:
  clients: 20
  mix:
    - {{device: jetson-xavier-nx, share: 0.5, link: wifi}}
    - {{device: macbook-pro-2019, share: 0.5, link: wifi}}
workload: {{corpus: common-voice-it-7, utterances: 100, max_seconds: 8}}
training: {{model: wav2vec2-base, batch_size: 4}}
rounds: {{count: {rounds}, cohort: 6, aggregate: loss-weighted, close: {{policy: deadline, after: 6min}}}}
learning:
  model: wav2vec2-tiny
  corpus: {{kind: espeak, language: it, speakers: 24, minutes: 10}}
  clients_per_round: 4
  local_steps: 4
  evaluate_every: 2
sweep:
  hardware.year: [2022, 2023, 2024, 2025, 2026, 2027, 2028, 2029, 2030, 2031, 2032]
"""


def result(name: str, value: float, unit: str, reference: float | None) -> dict[str, Any]:
    ratio = None if reference is None else value / reference
    return {"name": name, "value": value, "unit": unit, "reference": reference, "ratio": ratio}


def runs(directory: Path) -> list[bytes]:
    places = sorted(path for path in (directory / "points").iterdir() if path.is_dir())
    return [(place / file).read_bytes() for place in places for file in RUN_FILES]


def timed(
    sweep: sweeps.Sweep, out: Path, workers: int, store: Store | None = None
) -> tuple[float, Conclusion]:
    began = time.perf_counter()
    found = start(sweep, out, lambda: Processes(workers), store=store)
    assert not found.failed
    return time.perf_counter() - began, found


# %% Years with real training: each trained once, against each trained on its own
def gain(folder: Path, workers: int, rounds: int) -> list[dict[str, Any]]:
    file = folder / "learnt-years.yaml"
    file.write_text(LEARNT.format(rounds=rounds))
    sweep = sweeps.load(file)
    warm = replace(sweep, points=(replace(sweep.points[0], number=0),))
    timed(warm, folder / "warm", 1)  # the corpus is spoken here, so that neither side pays for it
    shared_s, found = timed(sweep, folder / "shared", workers)
    alone = []
    began = time.perf_counter()
    for point in sweep.points:  # one after another, by as many workers as have a point: no reuse between them
        alone.append(replace(sweep, points=(replace(point, number=0),)))
    alone_s = _apart(alone, folder, workers, began)
    apart = [held for number in range(len(alone)) for held in runs(folder / f"alone-{number}")]
    assert runs(folder / "shared") == apart, "reuse must not change a byte"
    trained = found.learned_rounds + found.recalled_rounds
    return [
        result(f"{len(sweep.points)} years with real training, each learnt once", shared_s, "s", alone_s),
        result(
            "rounds really trained, of all rounds of those years", found.learned_rounds, "rounds", trained
        ),
    ]


def _apart(points: list[sweeps.Sweep], folder: Path, workers: int, began: float) -> float:
    from fedsim import yamlfile
    from fedsim.sweeps import address
    from fedsim.sweeps.work import Job

    executor = Processes(workers)
    for number, one in enumerate(points):
        place = folder / f"alone-{number}" / "points" / "0"
        place.parent.mkdir(parents=True)
        scenario = one.points[0].scenario
        text, origin = yamlfile.dump(address.absolute(scenario)), address.of_learning(scenario)
        executor.submit(number, Job(text, origin, directory=str(place)))
    for _ in points:
        _, done = executor.next()
        assert done.fault is None, done.fault
    executor.close()
    return time.perf_counter() - began


# %% A large sweep on the clock alone, and the same again
def years(folder: Path, workers: int) -> list[dict[str, Any]]:
    sweep, store = sweeps.load("years"), Store(folder / "store")
    first_s, _ = timed(sweep, folder / "years", workers, store)
    again_s, found = timed(sweep, folder / "again", workers, store)
    assert found.computed == 0
    assert runs(folder / "years") == runs(folder / "again")
    count = len(sweep.points)
    return [
        result(f"{count} points (11 years x 5 devices x 2 models), timing only", first_s, "s", LIMIT_S),
        result(f"the same {count} points in a second sweep", again_s, "s", first_s),
    ]


# %% Main
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=6, help="of real training in each year")
    parser.add_argument("--skip-years", action="store_true", help="leave the 110 points out")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fedsim-sweep-") as place:
        results = gain(Path(place), given.workers, given.rounds)
        results += [] if given.skip_years else years(Path(place), given.workers)
    for one in results:
        print(f"{one['name']}: {one['value']:.4g} {one['unit']}   reference {one['reference']:.4g}, "
              f"{one['ratio']:.3g} of it")  # fmt: skip
    if given.json is not None:
        machine = {
            "system": f"{platform.system()} {platform.machine()}",
            "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "python": platform.python_version(),
            "numpy": np.__version__,
        }
        given.json.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")


if __name__ == "__main__":  # workers are spawned
    main()
