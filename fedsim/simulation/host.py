"""What real training will ask of the machine that runs fedsim, by our own cost model.

The corpus need not be there: how much a client holds and how long its utterances are is taken from
the scenario's workload, which describes the same clients to the clock. Workers train one client
each; on a GPU they share it, and on a CPU each has a thread, so that times are those of the whole
machine where there are as many workers as cores.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedsim import hardware
from fedsim.fleet import speech
from fedsim.fleet.batches import Batches
from fedsim.hardware import Device
from fedsim.learning import LearnerSpec
from fedsim.pricing import Pricer, Technique, load_trace
from fedsim.scenario import Scenario
from fedsim.simulation.compose import learner_spec
from fedsim.simulation.world import make_workloads

MACHINES = ("nvidia-a40", "macbook-pro-2019")  # priced if nobody names one: a GPU and a CPU, both measured
_RATE_HZ, _GRAIN = 16_000, 8_000
_EVALUATION_BATCH = 8
_SAMPLE_BYTES, _WEIGHT_BYTES, _SUM_BYTES = 2, 4, 8


@dataclass(frozen=True)
class LearningOutlook:
    """What real training will need on one machine.

    Attributes:
        machine: the device priced.
        calibration: ``calibrated``, ``inferred``, ``datasheet`` or ``measured``.
        model: preset that is trained.
        precision: in which this machine trains.
        steps: optimizer steps of pretraining in the whole run.
        step_s: seconds of one, on average.
        training_s, evaluation_s, downstream_s: real seconds of the whole run, one client at a time;
            fine-tuning is priced as pretraining on as much speech.
        fits: whether one worker fits.
        worker_bytes: peak of one worker, on the GPU if it is one.
        room_bytes: memory that the machine's system leaves.
        shared_bytes: main memory for global models in flight and the aggregate, once.
        disk_bytes: decoded speech and checkpoints; None if nobody says how much speech there is.
        corpus_missing: the corpus, where it is not there (yet).
    """

    machine: str
    calibration: str
    model: str
    precision: str
    steps: int
    step_s: float
    training_s: float
    evaluation_s: float
    downstream_s: float
    fits: bool
    worker_bytes: float
    room_bytes: float
    shared_bytes: float
    disk_bytes: float | None
    corpus_missing: str | None


def learning_outlook(scenario: Scenario, machines: tuple[str, ...] = ()) -> list[LearningOutlook]:
    """The outlook of real training on each machine; empty for a timing-only scenario.

    Args:
        scenario: checked.
        machines: device names or files; none: the scenario's ``server.device``, else ``MACHINES``.

    Raises:
        InputError: if there is no such device, or the model has no layer trace.
    """
    spec = learner_spec(scenario)
    if spec is None:
        return []
    named = machines or ((scenario.server.device,) if scenario.server.device else MACHINES)
    steps = _steps(spec, scenario)
    return [_outlook(hardware.load_device(name), spec, scenario, *steps) for name in named]


def _steps(spec: LearnerSpec, scenario: Scenario) -> tuple[int, Batches]:
    """Optimizer steps of the whole run, and the batches of the clients' workloads."""
    assert scenario.learning is not None
    loads, batches = make_workloads(scenario.workload, spec.batch_size, scenario.fleet.clients, scenario.seed)
    clients = np.arange(scenario.fleet.clients, dtype=np.int64)
    if spec.local_epochs is None:
        each = float(spec.local_steps)
    else:
        held = float(loads.utterances[loads.of(clients)].mean())
        each = max(1.0, spec.local_epochs * held / spec.batch_size)
    baseline = scenario.learning.baseline
    trained = min(spec.clients_per_round, scenario.rounds.cohort, scenario.fleet.clients)
    trained = {"local-only": 1, "no-pretraining": 0}.get(baseline or "", trained)
    return round(spec.rounds * trained * each), batches


def _technique(device: Device, spec: LearnerSpec) -> Technique:
    """Half precision where the device has it; bfloat16 before float16, as the learner chooses."""
    able = [p for p in ("bf16", "mixed") if spec.precision == "mixed" and p in device.training_precisions]
    return Technique(precision=able[0] if able else "fp32", optimizer=spec.optimizer, attention="sdpa")


def _padded(samples: np.ndarray, seconds: float) -> np.ndarray:
    """Lengths cut to ``seconds`` and rounded up to half a second."""
    grains = np.ceil(np.minimum(samples, seconds * _RATE_HZ) / _GRAIN)
    return np.asarray(np.maximum(grains, 1) * _GRAIN)


def _outlook(
    device: Device, spec: LearnerSpec, scenario: Scenario, steps: int, batches: Batches
) -> LearningOutlook:
    pricer = Pricer(device, load_trace(spec.model), _technique(device, spec))
    whole = float(_padded(np.array(np.inf), spec.crop_seconds))
    step_s = float(pricer.step_s(spec.batch_size, _padded(batches.samples, spec.crop_seconds)).mean())
    worker = float(pricer.footprint_bytes(spec.batch_size, whole))
    share = float(
        pricer.forward_flops(spec.batch_size, whole) / pricer.training_flops(spec.batch_size, whole)
    )
    evaluated = np.ceil(spec.evaluation_seconds * _RATE_HZ / whole / _EVALUATION_BATCH) * len(spec.splits)
    times = 1 + sum(spec.evaluates(index) for index in range(spec.rounds)) if spec.rounds < 10**6 else 1
    evaluation_s = float(times * evaluated * share * pricer.step_s(_EVALUATION_BATCH, whole))
    downstream_s = 0.0
    if (after := spec.downstream) is not None:
        lengths = _padded(batches.samples, after.longest_seconds)
        tests = 1 if not after.every else -(-spec.rounds // after.every)
        downstream_s = tests * after.steps * float(pricer.step_s(after.batch_size, lengths).mean())
        worker = max(
            worker,
            float(pricer.footprint_bytes(after.batch_size, _padded(np.array(np.inf), after.longest_seconds))),
        )
    room = device.memory_bytes - device.system_bytes
    return LearningOutlook(
        machine=device.name,
        calibration=pricer.calibration.status,
        model=spec.model,
        precision=pricer.technique.precision,
        steps=steps,
        step_s=step_s,
        training_s=steps * step_s,
        evaluation_s=evaluation_s,
        downstream_s=downstream_s,
        fits=worker <= room,
        worker_bytes=worker,
        room_bytes=room,
        shared_bytes=_vector(spec, pricer.parameters)
        * ((spec.max_staleness + 2) * _WEIGHT_BYTES + 3 * _SUM_BYTES),
        disk_bytes=_disk_bytes(spec, scenario, pricer.parameters),
        corpus_missing=_missing(spec),
    )


def _vector(spec: LearnerSpec, parameters: int) -> int:
    """Numbers that travel: the weights, and Adam's two moments of each where the server averages them."""
    return parameters * (3 if spec.optimizer_state == "averaged" and spec.optimizer != "sgd" else 1)


def _disk_bytes(spec: LearnerSpec, scenario: Scenario, parameters: int) -> float | None:
    kept = spec.rounds // spec.checkpoint_every + 3
    checkpoints = kept * _vector(spec, parameters) * _WEIGHT_BYTES * (1 + spec.max_staleness)
    minutes = spec.corpus.minutes
    if spec.corpus.kind == "common-voice":
        profile = speech.load(scenario.workload.corpus).seconds
        seconds = profile if minutes is None else min(profile, 72.0 * minutes)  # and two tenths held out
    elif minutes is not None:
        seconds = 72.0 * minutes
    else:
        return None
    return checkpoints + seconds * _RATE_HZ * _SAMPLE_BYTES


def _missing(spec: LearnerSpec) -> str | None:
    path = spec.corpus.path
    return None if path is None or Path(path).exists() else path
