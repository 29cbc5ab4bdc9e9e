"""How fast is the cost model: tracing the large model, and pricing a million clients?

    python analysis/benchmarks/cost.py [--json FILE] [--clients 1000000] [--skip-tracing]

Every client has its own device of the catalogue, precision, batch and length. Making the pricers
(one for each device and precision, calibration included) is timed on its own. The reference of
tracing is the limit that the project sets itself; that of pricing is a Python loop over clients.
"""

# %% Setup
from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

MODEL = "wav2vec2-large"
LIMIT_TRACE_S, LIMIT_TRACE_BYTES, LIMIT_PRICE_S = 15.0, 1.5e9, 1.0
SAMPLE = 2_000


def result(name: str, value: float, unit: str, reference: float | None) -> dict[str, Any]:
    ratio = None if reference is None else value / reference
    return {"name": name, "value": value, "unit": unit, "reference": reference, "ratio": ratio}


# %% Tracing, in a fresh process with one worker, so that its peak resident size is its own
TRACE = f"""
import time
from fedsim.tracing import configs
from fedsim.tracing.trace import trace
imported, busy = time.monotonic(), time.process_time()
trace(configs.preset({MODEL!r}), {MODEL!r}, workers=1)
done = time.monotonic()
import json, resource
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps([done - imported, time.process_time() - busy, peak]))
"""


def tracing() -> list[dict[str, Any]]:
    done = subprocess.run([sys.executable, "-c", TRACE], capture_output=True, text=True, check=True)
    seconds, processor, peak = json.loads(done.stdout.splitlines()[-1])
    return [
        result(f"trace and verify {MODEL}", seconds, "s", LIMIT_TRACE_S),
        result(f"the same, processor time only ({MODEL})", processor, "s", LIMIT_TRACE_S),
        result(f"peak resident size of tracing {MODEL}", peak, "bytes", LIMIT_TRACE_BYTES),
    ]


# %% Pricing: step time and footprint of every client
def pricing(clients: int, repeats: int = 3) -> list[dict[str, Any]]:
    from fedsim.hardware import catalogue
    from fedsim.pricing import Pricer, Technique, load_trace

    start = time.perf_counter()
    trace = load_trace("wav2vec2-base")
    pricers = [
        Pricer(device, trace, Technique(precision=precision))
        for device in catalogue()
        for precision in device.training_precisions
    ]
    warm = np.full(5_000, 80_000)
    for pricer in pricers:
        pricer.step_s(4, 80_000)
        pricer.footprint_bytes(np.full(5_000, 4), warm)
    made_s = time.perf_counter() - start

    draws = np.random.Generator(np.random.Philox(7))
    kind = draws.integers(0, len(pricers), clients)
    batch = draws.integers(1, 17, clients)
    samples = draws.integers(16_000, 20 * 16_000, clients)
    step_s, footprint_bytes = np.empty(clients), np.empty(clients)

    def priced() -> None:
        order = np.argsort(kind, kind="stable")
        ends = np.cumsum(np.bincount(kind, minlength=len(pricers)))
        for pricer, end, begin in zip(pricers, ends, [0, *ends[:-1]], strict=True):
            mine = order[begin:end]
            step_s[mine] = pricer.step_s(batch[mine], samples[mine])
            footprint_bytes[mine] = pricer.footprint_bytes(batch[mine], samples[mine])

    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        priced()
        times.append(time.perf_counter() - start)
    best_s = min(times)

    some = range(min(SAMPLE, clients))
    start = time.perf_counter()
    alone = [
        (float(pricers[kind[i]].step_s(batch[i], samples[i])),
         float(pricers[kind[i]].footprint_bytes(batch[i], samples[i])))
        for i in some
    ]  # fmt: skip
    loop_s = (time.perf_counter() - start) / len(some) * clients
    together = np.stack([step_s[: len(some)], footprint_bytes[: len(some)]], axis=1)
    np.testing.assert_allclose(np.array(alone), together, rtol=1e-12)
    return [
        result(f"make {len(pricers)} pricers, calibrated and warm", made_s, "s", None),
        result(f"price {clients} clients, each its own device, precision, batch and length", best_s, "s",
               LIMIT_PRICE_S),
        result(f"price {clients} clients, against a Python loop ({len(some)} timed)", best_s, "s", loop_s),
    ]  # fmt: skip


# %% Main
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--clients", type=int, default=1_000_000)
    parser.add_argument("--skip-tracing", action="store_true", help="price only")
    given = parser.parse_args()
    results = ([] if given.skip_tracing else tracing()) + pricing(given.clients)
    for one in results:
        beside = (
            ""
            if one["reference"] is None
            else f"   reference {one['reference']:.4g}, {one['ratio']:.3g} of it"
        )
        print(f"{one['name']}: {one['value']:.4g} {one['unit']}{beside}")
    if given.json is not None:
        machine = {
            "system": f"{platform.system()} {platform.machine()}",
            "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "python": platform.python_version(),
            "numpy": np.__version__,
        }
        given.json.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")
