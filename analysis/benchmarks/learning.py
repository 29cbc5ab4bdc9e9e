"""What federating costs over a bare loop: wall-clock time of real training rounds.

    python analysis/benchmarks/learning.py [--json FILE] [--turns 5] [--steps 4] [--skip-flower]

The work is a round of wav2vec2-tiny: 20 of 100 clients take ``--steps`` optimizer steps of 4
utterances each, then their updates are averaged. The same clients, batches, masks and dropout

- in a bare PyTorch loop in one process, which knows no learner, no pool and no rule;
- in fedsim with 1 worker and with 2 worker processes;
- in Flower's simulation engine with 2 Ray actors, where flwr and ray are installed, each actor
  calling fedsim's own client function.

Every variant starts and does a small round first; that is its start-up and does not count. Then
variants take turns, so that whatever else the machine does falls on all of them; Flower, whose
server has a process of its own, waits for its turn too. A ratio is the median over turns of a
variant's seconds over the bare loop's in the same turn. Beside it stand the processor time of all
processes, and that of the busiest one: no core is waited for in those, so where cores are shared
with others they are the steadier figures, and the busiest process bounds what a round would take on
idle cores from below. After the last turn all variants must hold the same weights.
"""

# %% Setup
from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import queue
import sys
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
import torch
from federations import built, federation

from fedsim import rng
from fedsim.learning import Federation, make_learner, vector
from fedsim.learning.local import Trainer, TrainJob
from fedsim.learning.passes import passes
from fedsim.tasks.speech import batches, corpus, partition
from fedsim.tasks.speech.corpus import Espeak
from fedsim.tasks.wav2vec2 import objective

CLIENTS, COHORT, SEED = 100, 20, 1
SPEAKERS, MINUTES = 130, 60.0  # 104 of them train
LIMITS = {"fedsim, 1 worker": 1.05, "fedsim, 2 workers": 0.58}


def spec_of(steps: int) -> Federation:
    """Evaluation never falls into a round that is timed."""
    return federation(
        clients=CLIENTS,
        rounds=1_000_000,
        model="wav2vec2-tiny",
        corpus=Espeak(speakers=SPEAKERS, minutes=MINUTES),
        parts=CLIENTS,
        clients_per_round=COHORT,
        evaluate_every=1_000_000,
        evaluation_seconds=4.0,
        batch_size=4,
        local_steps=steps,
    )


def cohort(round_index: int, size: int) -> np.ndarray:
    """Who takes part, in order of arrival."""
    return rng.generator(SEED, "benchmark", round_index).permutation(CLIENTS)[:size].astype(np.int64)


# %% The bare loop: what one would write by hand
class Bare:
    """One process, one thread, one model, a running sum."""

    def __init__(self, spec: Federation) -> None:
        torch.set_num_threads(1)
        self.spec = spec
        self.speech = corpus.load(spec.corpus)
        self.parts = partition.divide(self.speech, spec, SEED)
        self.net = built(spec.model, SEED)
        self.masking = batches.Masking.of(spec, self.net.config)
        self.crop = batches.grain(spec.crop_seconds)
        self.weights = vector.flatten(self.net)

    def round(self, index: int, clients: np.ndarray) -> None:
        """Train each client from the global weights, and average what comes back."""
        spec, net = self.spec, self.net
        total = np.zeros(len(self.weights))
        for client in clients.tolist():
            draw = rng.generator(SEED, "local", client, index, 0)
            torch.manual_seed(rng.key(SEED, "dropout", client, index, 0) % 2**63)
            net.train()
            vector.load(net, self.weights)
            optimizer = torch.optim.Adam(
                net.parameters(), lr=spec.rate(index), betas=(0.9, 0.98), eps=1e-6, fused=True
            )
            for chosen in passes(self.parts.utterances(client), spec, draw):
                made = batches.make(self.speech, chosen, self.crop, net.config, self.masking, draw)
                valid = None if made.valid_samples is None else torch.tensor(made.valid_samples)
                optimizer.zero_grad()
                got = objective.evaluate_objective(
                    net, torch.tensor(made.waves), valid, torch.tensor(made.masked),
                    torch.tensor(made.negatives), spec.gumbel_temperature(index),
                )  # fmt: skip
                got.loss(self.masking.diversity_weight).backward()
                torch.nn.utils.clip_grad_norm_(net.parameters(), spec.clip_norm)
                optimizer.step()
            total += vector.flatten(net).astype(np.float64) - self.weights
        self.weights = (self.weights + total / len(clients)).astype(np.float32)

    def close(self) -> None:
        """Nothing to end."""


# %% fedsim
class Federated:
    """A learner, driven as the engine drives it."""

    def __init__(self, spec: Federation, workers: int) -> None:
        self.learner = make_learner(spec, SEED, workers)

    @property
    def weights(self) -> np.ndarray:
        """The global model."""
        return self.learner.weights()

    def round(self, index: int, clients: np.ndarray) -> None:
        """One round of the learner."""
        self.learner.train(index, clients, np.full(len(clients), index))

    def close(self) -> None:
        """End the workers."""
        self.learner.close()


# %% Flower: the same client function behind ClientApp and Grid
def flower_client(spec: Federation) -> Any:
    """A ClientApp that trains as a fedsim worker does; an actor keeps its trainer."""
    from flwr.app import Array, ArrayRecord, Context, Message, RecordDict
    from flwr.clientapp import ClientApp

    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        import sys

        import numpy as np
        import torch

        kept = sys.modules.setdefault("_fedsim_benchmark", types.ModuleType("_fedsim_benchmark"))
        if not hasattr(kept, "trainer"):
            torch.set_num_threads(1)
            kept.trainer = Trainer(spec, SEED)
        weights = message.content["weights"]["flat"].numpy()
        ask = message.content["job"]
        out = np.zeros_like(weights)
        kept.trainer.train(TrainJob(int(ask["client"]), int(ask["round"]), 0), weights, out)
        content = RecordDict({"weights": ArrayRecord({"flat": Array(out)})})
        return Message(content=content, reply_to=message)

    return app


class Flower:
    """Flower's simulation in a thread; its server waits for orders."""

    def __init__(self, spec: Federation) -> None:
        self.orders: queue.Queue[Any] = queue.Queue()
        self.done: queue.Queue[Any] = queue.Queue()
        self.weights = vector.flatten(built(spec.model, SEED))
        self.thread = threading.Thread(target=self._run, args=(spec,), daemon=True)
        self.thread.start()

    def _run(self, spec: Federation) -> None:
        from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MessageType, RecordDict
        from flwr.serverapp import Grid, ServerApp
        from flwr.simulation import run_simulation

        app = ServerApp()

        @app.main()
        def main(grid: Grid, context: Context) -> None:
            while len(nodes := sorted(grid.get_node_ids())) < CLIENTS:
                time.sleep(0.1)
            while (order := self.orders.get()) is not None:
                index, clients = order
                asked = []
                for client in clients.tolist():
                    content = RecordDict(
                        {
                            "weights": ArrayRecord({"flat": Array(self.weights)}),
                            "job": ConfigRecord({"client": client, "round": index}),
                        }
                    )
                    asked.append(Message(content, nodes[client], MessageType.TRAIN))
                total = np.zeros(len(self.weights))
                answers = list(grid.send_and_receive(asked))
                for answer in answers:
                    total += answer.content["weights"]["flat"].numpy().astype(np.float64) - self.weights
                self.weights = (self.weights + total / len(clients)).astype(np.float32)
                self.done.put(len(answers))

        try:
            run_simulation(
                server_app=app,
                client_app=flower_client(spec),
                num_supernodes=CLIENTS,
                backend_config={
                    "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
                    "init_args": {"num_cpus": 2, "include_dashboard": False, "logging_level": 40},
                },
            )
        except BaseException as fault:
            self.done.put(fault)

    def round(self, index: int, clients: np.ndarray) -> None:
        """Give the order and wait."""
        self.orders.put((index, clients))
        answered = self.done.get(timeout=600)
        if answered != len(clients):
            raise RuntimeError(f"Flower: {answered!r}")

    def close(self) -> None:
        """Let the server return."""
        self.orders.put(None)
        self.thread.join(120)


# %% Turns
def processor_s() -> dict[int, float]:
    """Processor seconds so far of this process and of all below it, by process."""
    me = psutil.Process()
    used = {}
    for process in [me, *me.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        used[process.pid] = times.user + times.system
    return used


def timed(work: Callable[[], None]) -> tuple[float, float, float]:
    """Wall-clock seconds, processor seconds of all processes, and those of the busiest one."""
    before, start = processor_s(), time.perf_counter()
    work()
    wall_s = time.perf_counter() - start
    spent = [used - before.get(pid, 0.0) for pid, used in processor_s().items()]
    return wall_s, sum(spent), max(spent)


def result(name: str, value: float, unit: str, reference: float | None = None) -> dict[str, Any]:
    ratio = None if reference is None else value / reference
    return {"name": name, "value": value, "unit": unit, "reference": reference, "ratio": ratio}


def compare(turns: int, steps: int, flower: bool) -> list[dict[str, Any]]:
    """Start every variant, let them take turns, hold their weights together."""
    spec = spec_of(steps)
    corpus.load(spec.corpus)  # made once, for all
    makers: dict[str, Callable[[], Any]] = {
        "bare loop": lambda: Bare(spec),
        "fedsim, 1 worker": lambda: Federated(spec, 1),
        "fedsim, 2 workers": lambda: Federated(spec, 2),
    }
    if flower:
        makers["Flower, 2 actors"] = lambda: Flower(spec)
    made: dict[str, Any] = {}
    taken: dict[str, list[tuple[float, float, float]]] = {name: [] for name in makers}
    rows = []
    try:
        for name, make in makers.items():
            start = time.perf_counter()
            made[name] = make()
            made[name].round(0, cohort(0, 4))
            rows.append(result(f"{name}: start-up and a round of 4", time.perf_counter() - start, "s"))
        names = list(made)
        for turn in range(1, turns + 1):
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                seconds = timed(lambda n=name, t=turn: made[n].round(t, cohort(t, COHORT)))
                taken[name].append(seconds)
                shown = "{:.2f} s, processor {:.2f} s, busiest process {:.2f} s".format(*seconds)
                print(f"  turn {turn}  {name:20} {shown}", flush=True)
        apart = {n: float(np.abs(made[n].weights - made["bare loop"].weights).max()) for n in names}
    finally:
        for one in made.values():
            one.close()
    for name in names:
        for kind, what in enumerate(("a round", "processor time", "busiest process")):
            times, base = ([turn[kind] for turn in taken[one]] for one in (name, "bare loop"))
            ratio = median(a / b for a, b in zip(times, base, strict=True))
            row = {**result(f"{name}: {what}", median(times), "s", median(base)), "ratio": ratio}
            row |= {"least": min(times), "ratio_of_least": min(times) / min(base)}
            rows.append(row | {"limit": None if kind == 1 else LIMITS.get(name)})
        rows.append(result(f"{name}: weights apart from the bare loop's, at most", apart[name], ""))
        if apart[name] > 1e-6:
            sys.exit(f"{name} did other work: its weights differ by {apart[name]:.2g}")
    return rows


# %% Main
def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--turns", type=int, default=5, help="rounds that are timed of each variant")
    parser.add_argument("--steps", type=int, default=4, help="optimizer steps of a client")
    parser.add_argument("--skip-flower", action="store_true")
    given = parser.parse_args()
    there = all(importlib.util.find_spec(name) for name in ("flwr", "ray"))
    flower = there and not given.skip_flower
    results = compare(given.turns, given.steps, flower)
    if not flower:
        print("Flower is left out" + ("" if there else ": flwr and ray are not installed"))
    for one in results:
        beside = "" if one["ratio"] is None else f"   {one['ratio']:.3f} of the bare loop"
        limit = f" (goal: {one['limit']:g} at most)" if one.get("limit") else ""
        print(f"{one['name']}: {one['value']:.4g} {one['unit']}{beside}{limit}")
    if given.json is not None:
        machine = {
            "system": f"{platform.system()} {platform.machine()}",
            "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            "python": platform.python_version(),
            "torch": torch.__version__,
        }
        given.json.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
