"""How fast is the engine: client-rounds a second against a naive SimPy simulation, and what it takes.

    python analysis/benchmarks/engine.py [--json FILE] [--fleets 10000 100000 1000000]
                                         [--cohorts 1000 10000 100000] [--seconds 2]

Each fleet and cohort has fresh processes of its own, so that a peak of memory is its own. Measured
are, in one go and on the same random durations (those that fedsim's clients were estimated):
(a) naive SimPy, a process a client with 4 timeouts (latency, download, training, upload), whose
durations are handed to it ready-made; (b) fedsim with synchronous rounds; (c) fedsim with
asynchronous rounds; (d) plain numpy that adds the durations up, which is the limit. Fedsim draws its
clients, availability (Markov and overnight), memory pressure, links and crashes on the way; the
server's own link is wide, except where the name says that it is shared. Rates are by processor time
of the one thread that works, so that other work on the machine disturbs them less.
"""

# %% Setup
from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

SYNCHRONOUS_GOAL, ASYNCHRONOUS_GOAL, FLEET_GOAL = 20.0, 3.0, 1.5
START_GOAL_S, MEMORY_GOAL_BYTES = 10.0, 1.5e9
SCENARIO = """
name: engine-benchmark
seed: 7
fleet:
  clients: 10000
  mix:
    - {device: jetson-xavier-nx, share: 0.2, link: wifi, speed_spread: 0.1, memory_spread: 0.05}
    - device: macbook-pro-2019
      share: 0.3
      link: wifi
      availability: {kind: markov, mean_online: 6h, mean_offline: 4h}
      pressure: laptop
      speed_spread: 0.1
      crashes_per_day: 0.1
    - device: snapdragon-870
      share: 0.25
      link: lte
      availability: overnight
      pressure: phone
      speed_spread: 0.1
      utc_offsets: [-5, 0, 1, 8]
    - device: a15-bionic
      share: 0.25
      link: 5g
      availability: overnight
      pressure: phone
      speed_spread: 0.1
      utc_offsets: [-5, 0, 1, 8]
workload: {utterances: 20}
training: {model: wav2vec2-base, precision: mixed, batch_size: 4, start: warm}
rounds: {count: 1000000, cohort: 10}
"""


def result(name: str, value: float, unit: str, reference: float | None = None) -> dict[str, Any]:
    ratio = None if reference is None else value / reference
    return {"name": name, "value": value, "unit": unit, "reference": reference, "ratio": ratio}


# %% One measurement, in a process of its own
def naive_s(durations: np.ndarray) -> tuple[float, float]:
    """Processor seconds of one naive round over ``durations`` float64[n, 4], and when it ended."""
    import simpy

    def client(environment: simpy.Environment, phases: list[float]) -> Iterator[simpy.Event]:
        for phase in phases:
            yield environment.timeout(phase)

    rows = durations.tolist()
    begin = time.process_time()
    environment = simpy.Environment()
    for row in rows:
        environment.process(client(environment, row))
    environment.run()
    return time.process_time() - begin, float(environment.now)


def numpy_s(durations: np.ndarray) -> tuple[float, float]:
    """The same in plain numpy."""
    begin = time.process_time()
    columns = np.ascontiguousarray(durations.T)
    end = (((columns[0] + columns[1]) + columns[2]) + columns[3]).max()
    return time.process_time() - begin, float(end)


def measure(kind: str, clients: int, cohort: int, seconds: float) -> dict[str, float]:
    """One of ``sync``, ``async``, ``sync-shared``, ``async-shared``, for about so many processor seconds."""
    import resource

    begin = time.perf_counter()
    from fedsim.engine.server import Simulation
    from fedsim.scenario import load
    from fedsim.simulation import compose

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "engine-benchmark.yaml"
        file.write_text(SCENARIO)
        changes = [f"fleet.clients={clients}", f"rounds.cohort={cohort}"]
        if kind.startswith("async"):
            changes.append(f"rounds.close={{policy: async, buffer: {max(cohort // 10, 1)}}}")
        composition = compose(load(file, changes).scenario)
    started_s = time.perf_counter() - begin
    world, plan = composition.world, composition.plan
    if not kind.endswith("shared"):
        plan = replace(plan, server_down_bytes_per_s=math.inf, server_up_bytes_per_s=math.inf)
    simulation = Simulation(world, plan)
    records, ended, rounds = iter(simulation), 0, 0
    # An asynchronous server works ahead, many rounds at a time: measured from the very start, so that
    # nothing that was worked out before counts as free. Synchronous rounds are measured from the second on.
    begin_s = time.process_time()
    first = next(records)
    if kind.startswith("async"):
        ended, rounds = len(first.clients), 1
    else:
        begin_s = time.process_time()
    while time.process_time() - begin_s < seconds or rounds < 3:
        ended += len(next(records).clients)
        rounds += 1
    took_s = time.process_time() - begin_s
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    found = {"started_s": started_s, "rate": ended / took_s, "round_s": took_s / rounds, "peak_bytes": peak,
             "rounds": rounds, "client_rounds": ended}  # fmt: skip
    if kind == "sync":
        rows = first.clients
        estimate = world.estimate(rows.client, 0, rows.dispatched_s)
        down, up = (
            estimate.download_bytes / estimate.down_bytes_per_s,
            estimate.upload_bytes / estimate.up_bytes_per_s,
        )
        durations = np.column_stack([estimate.latency_s, down, estimate.compute_s, estimate.latency_s + up])
        done = rows.outcome == 0
        np.testing.assert_allclose(
            (rows.ended_s - rows.dispatched_s)[done], durations.sum(axis=1)[done], rtol=1e-9
        )
        for name, naive in (("naive", naive_s), ("numpy", numpy_s)):
            times = []
            while sum(times) < seconds / 2 and len(times) < 10_000:
                took, end_s = naive(durations)
                times.append(took)
                np.testing.assert_allclose(end_s, durations.sum(axis=1).max(), rtol=1e-9)
            found[name] = len(durations) * len(times) / sum(times)
    return found


def fresh(kind: str, clients: int, cohort: int, seconds: float) -> dict[str, float]:
    """:func:`measure` in a fresh process with one thread."""
    command = [sys.executable, __file__, "--case", kind, str(clients), str(cohort), "--seconds", str(seconds)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{kind}, fleet {clients}, cohort {cohort} failed:\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


# %% All of them
def everything(fleets: list[int], cohorts: list[int], seconds: float) -> Iterator[dict[str, Any]]:
    """The results, as they come."""
    rate = "client-rounds/s"
    round_of: dict[tuple[str, int, int], float] = {}
    for clients in fleets:
        worst_bytes = started_s = 0.0
        for cohort in cohorts:
            if cohort > clients:
                continue
            case = f"fleet {clients}, cohort {cohort}"
            found = {kind: fresh(kind, clients, cohort, seconds) for kind in ("sync", "async")}
            naive = found["sync"]["naive"]
            yield result(f"(a) naive SimPy, durations of {case}", naive, rate)
            yield result(f"(b) fedsim, synchronous, {case}", found["sync"]["rate"], rate, naive)
            yield result(f"(c) fedsim, asynchronous, {case}", found["async"]["rate"], rate, naive)
            yield result(f"(d) plain numpy, durations of {case}", found["sync"]["numpy"], rate, naive)
            for kind, one in found.items():
                round_of[kind, clients, cohort] = 1.0 / one["rate"]
                yield result(f"peak memory, {kind}, {case}", one["peak_bytes"], "bytes", MEMORY_GOAL_BYTES)
                worst_bytes = max(worst_bytes, one["peak_bytes"])
                started_s = max(started_s, one["started_s"])
        yield result(f"start, imports included, fleet {clients}", started_s, "s", START_GOAL_S)
    for cohort in cohorts:
        small = [f for f in sorted(fleets) if f > 2 * cohort]
        for kind in ("sync", "async"):
            for clients in small[1:]:
                each, of_small = round_of[kind, clients, cohort], round_of[kind, small[0], cohort]
                name = f"a client-round, {kind}, fleet {clients} against {small[0]}, cohort {cohort}"
                yield result(name, each, "s", of_small)
    for kind in ("sync-shared", "async-shared"):
        clients, cohort = fleets[0], cohorts[0]
        name = f"fedsim, {kind[:-7]}, over a shared server link of 1 Gbps, fleet {clients}, cohort {cohort}"
        yield result(name, fresh(kind, clients, cohort, seconds)["rate"], rate)


def noise(results: list[dict[str, Any]], cohorts: list[int]) -> Iterator[dict[str, Any]]:
    """How far the same naive simulation differs from one process to the next: trust no ratio further."""
    for cohort in cohorts:
        rates = [r["value"] for r in results if r["name"].startswith("(a)")
                 and r["name"].endswith(f"cohort {cohort}")]  # fmt: skip
        if len(rates) > 1:
            name = f"noise: fastest naive SimPy at cohort {cohort} against the slowest"
            yield result(name, max(rates), "client-rounds/s", min(rates))


def verdicts(results: list[dict[str, Any]]) -> Iterator[tuple[str, str, str, str]]:
    """Each goal that a result is held to: what, measured, goal, and whether it is met."""
    for one in results:
        name, ratio = one["name"], one["ratio"]
        if ratio is None or name.startswith(("noise", "(d)")):
            continue
        if name.startswith(("(b)", "(c)")):
            goal = SYNCHRONOUS_GOAL if name.startswith("(b)") else ASYNCHRONOUS_GOAL
            yield name, f"{ratio:.2f} x (a)", f">= {goal:g} x", "met" if ratio >= goal else "missed"
        elif name.startswith("a client-round"):
            yield name, f"{ratio:.2f} x", f"<= {FLEET_GOAL:g} x", "met" if ratio <= FLEET_GOAL else "missed"
        else:
            measured, goal = f"{one['value']:.4g} {one['unit']}", f"<= {one['reference']:.4g}"
            yield name, measured, goal, "met" if ratio <= 1.0 else "missed"


# %% Main
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--fleets", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--cohorts", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--seconds", type=float, default=2.0, help="processor time of each measurement")
    parser.add_argument("--case", nargs=3, metavar=("KIND", "FLEET", "COHORT"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        kind, clients, cohort = given.case
        print(json.dumps(measure(kind, int(clients), int(cohort), given.seconds)))
        raise SystemExit(0)
    results = []
    for one in everything(sorted(given.fleets), sorted(given.cohorts), given.seconds):
        results.append(one)
        beside = "" if one["ratio"] is None else f"   {one['ratio']:.3g} of {one['reference']:.4g}"
        print(f"{one['name']}: {one['value']:.4g} {one['unit']}{beside}", flush=True)
    for one in noise(results, sorted(given.cohorts)):
        results.append(one)
        print(f"{one['name']}: {one['ratio']:.3g}")
    print()
    for row in [("goal of", "measured", "goal", ""), *verdicts(results)]:
        print(f"{row[0]:<68} {row[1]:>18} {row[2]:>12}  {row[3]}")
    if given.json is not None:
        machine = {
            "system": f"{platform.system()} {platform.machine()}",
            "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "python": platform.python_version(),
            "numpy": np.__version__,
        }
        given.json.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")
