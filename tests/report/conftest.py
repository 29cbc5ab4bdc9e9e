"""A synthetic but plausible run, written through the writer that real runs use."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest

from fedsim.results import OUTCOMES, RunWriter, manifest
from fedsim.results.intervals import Intervals

SCENARIO = """name: {name}
seed: 7
fleet:
  clients: {clients}
  mix:
{mix}
training:
  model: wav2vec2-base
  batch_size: 4
rounds:
  count: {rounds}
  cohort: {cohort}
  close:
    policy: deadline
    after: 21600.0
"""


@dataclass(frozen=True)
class Kind:
    """A made-up device class: seconds of training, bytes, watts, and what usually goes wrong."""

    device: str
    share: float
    compute_s: float
    memory_bytes: float
    pressure_bytes: float
    down_s: float
    up_s: float
    watts: float
    offline: float


KINDS = (
    Kind("jetson-xavier-nx", 0.4, 3900.0, 7.2e9, 0.4e9, 61.0, 190.0, 14.0, 0.0),
    Kind("raspberry-pi-4", 0.15, 14500.0, 3.6e9, 0.3e9, 31.0, 33.0, 6.4, 0.0),
    Kind("snapdragon-870", 0.3, 6100.0, 6.6e9, 2.6e9, 95.0, 320.0, 7.5, 0.12),
    Kind("macbook-pro-2019", 0.15, 2400.0, 13.0e9, 3.0e9, 24.0, 80.0, 52.0, 0.03),
)
_STOPPED = {"oom": 0.35, "offline": 0.6, "failed": 0.5, "battery": 0.7, "rejected": 1.0}


def write_run(
    path,
    rounds=40,
    cohort=20,
    clients=300,
    kinds=KINDS,
    name="phones-and-jetsons",
    learning=True,
    only=None,
    deadline_s=21600.0,
    finish=True,
    seed=7,
    reason="all rounds done",
    drawn=None,
):
    """Write a run; ``only`` forces one outcome on everybody.

    ``drawn``: low and high end of everything that takes time, as factors; None: no intervals.
    """
    rng = np.random.default_rng(seed)
    mix = "\n".join(
        f"    - {{device: {json.dumps(k.device, ensure_ascii=False)}, share: {k.share}, link: wifi}}"
        for k in kinds
    )
    text = SCENARIO.format(
        name=json.dumps(name, ensure_ascii=False), clients=clients, mix=mix, rounds=rounds, cohort=cohort
    )
    shares = np.array([k.share for k in kinds])
    kind_of = rng.choice(len(kinds), clients, p=shares / shares.sum())
    speed = rng.lognormal(0, 0.25, clients)
    head = manifest(name, seed, clients, {}, ["fedsim", "run", f"{name}.yaml"])
    run = RunWriter(path, text, head, [k.device for k in kinds])
    if learning:
        run.initial([("loss", "validation", 3.53), ("contrastive_accuracy", "validation", 0.04)])
    now = 0.0
    for index in range(rounds):
        chosen = rng.choice(clients, min(cohort, clients), replace=False)
        k = kind_of[chosen]

        def of(field, k=k):
            return np.array([getattr(kind, field) for kind in kinds])[k]

        size = chosen.size
        footprint = 3.9e9 * rng.lognormal(0, 0.12, size)
        available = of("memory_bytes") - of("pressure_bytes") * rng.gamma(4.0, 0.25, size)
        compute = of("compute_s") * speed[chosen] * rng.lognormal(0, 0.08, size)
        down, up = of("down_s") * rng.lognormal(0, 0.2, size), of("up_s") * rng.lognormal(0, 0.2, size)
        start = np.full(size, 5.0)
        outcome = np.zeros(size, dtype=int)
        outcome[rng.random(size) < of("offline")] = OUTCOMES.index("offline")
        outcome[rng.random(size) < 0.004] = OUTCOMES.index("failed")
        outcome[(footprint > available) | (rng.random(size) < 0.01)] = OUTCOMES.index("oom")
        if only is not None:
            outcome[:] = OUTCOMES.index(only)
        for word, part in _STOPPED.items():
            stopped = outcome == OUTCOMES.index(word)
            compute[stopped] *= part * rng.random(stopped.sum())
            up[stopped] = 0.0
        ended = now + down + start + compute + up
        late = (ended > now + deadline_s) & (outcome == 0)
        outcome[late] = OUTCOMES.index("late")
        compute[late] = np.minimum(compute[late], deadline_s - down[late] - start[late])
        up[late] = np.maximum(0.0, deadline_s - down[late] - start[late] - compute[late])
        ended[late] = now + deadline_s
        end = float(ended.max())
        done = outcome == 0
        moved = 380e6 * np.where(up > 0, 1.0, 0.0)
        losses = np.where(done, 3.5 - 0.7 * (1 - np.exp(-index / 25)), np.nan) + rng.normal(0, 0.05, size)
        columns = {
            "client": chosen,
            "device": k,
            "dispatched_s": np.full(size, now),
            "download_s": down,
            "startup_s": start,
            "compute_s": compute,
            "upload_s": up,
            "ended_s": ended,
            "outcome": outcome,
            "footprint_bytes": footprint,
            "available_bytes": available,
            "downloaded_bytes": np.full(size, 380e6),
            "uploaded_bytes": moved,
            "energy_j": of("watts") * compute + 3.0 * (down + up),
            "examples": rng.integers(5, 90, size).astype(float),
            "weight": np.where(done, 1.0 / max(1, done.sum()), 0.0) if learning else np.full(size, np.nan),
            "loss": losses if learning else np.full(size, np.nan),
        }
        row = {"round": index, "start_s": now, "end_s": end}
        metrics = []
        if learning:
            row["loss"] = float(np.nanmean(losses)) if done.any() else np.nan
            metrics.append(("loss", "train", row["loss"]))
            if index % 2 == 1 or index == rounds - 1:
                progress = 1 - np.exp(-(index + 1) / 22)
                metrics.append(("loss", "validation", 3.53 - 0.74 * progress + rng.normal(0, 0.012)))
                accuracy = 0.04 + 0.16 * progress + rng.normal(0, 0.003)
                metrics.append(("contrastive_accuracy", "validation", accuracy))
                metrics.append(("codebook_perplexity", "validation", 12 + 40 * progress))
        run.round(row, columns, metrics)
        now = end
    if finish:
        run.finish(reason, intervals=None if drawn is None else ends_of(run.path, drawn))
    else:
        run.close()
    return path


def ends_of(path, factors):
    """Intervals of an unfinished run whose ends are those multiples of its figures."""
    from fedsim.results import Run, summarise

    run = Run(path, finished=False)
    summary, low_high = summarise(run), np.array(factors)

    def ends(figures, names):
        return {name: tuple(low_high * figures[name]) for name in names if figures[name] is not None}

    devices = {name: ends(figures, ["mean_compute_s"]) for name, figures in summary["devices"].items()}
    end_s, start_s = (run.rounds[name].to_numpy() for name in ("end_s", "start_s"))
    whole = ends(summary, ["end_s", "mean_round_s", "energy_j"])
    return Intervals(
        0.9, 12, whole, devices, low_high[:, None] * end_s, low_high[:, None] * (end_s - start_s)
    )


@pytest.fixture(scope="session")
def make_run():
    """The function that writes a synthetic run."""
    return write_run


@pytest.fixture(scope="session")
def kinds():
    """The made-up device classes."""
    return KINDS


@pytest.fixture(scope="session")
def usual(tmp_path_factory):
    """A finished run with learning and everything that goes wrong; not to be changed."""
    return write_run(tmp_path_factory.mktemp("runs") / "usual")
