"""What real training will ask of the machine that runs fedsim, by our own cost model.

The corpus need not be there: how much a client holds and how long its utterances are is taken from
the scenario's workload, which describes the same clients to the clock. Workers train one client
each; on a GPU they share it, and on a CPU each has a thread, so that times are those of the whole
machine where there are as many workers as cores.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedsim import hardware, paths
from fedsim.engine.completion import Buffered
from fedsim.fleet import speech
from fedsim.fleet.batches import Batches
from fedsim.hardware import Device
from fedsim.learning import Federation
from fedsim.learning.ways import Way
from fedsim.pricing import Pricer, Technique, load_trace
from fedsim.scenario import Scenario
from fedsim.simulation.compose import federation_of
from fedsim.simulation.world import make_workloads

MACHINES = ("nvidia-a40", "macbook-pro-2019")  # priced if nobody names one: a GPU and a CPU, both measured
_WEIGHT_BYTES, _SUM_BYTES = 4, 8


@dataclass(frozen=True)
class LearningOutlook:
    """What real training will need on one machine.

    Attributes:
        machine: the device priced.
        calibration: ``calibrated``, ``inferred`` or ``measured``.
        model: preset that is trained.
        precision: in which this machine trains.
        steps: optimizer steps of pretraining in the whole run.
        step_s: seconds of one, on average; of several ways to train, of all alike.
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
    """The outlook of real training on each machine; empty for a timing-only scenario, and for a model
    that has no layer trace of its name.

    Args:
        scenario: checked.
        machines: device names or files; none: the scenario's ``server.device``, else ``MACHINES``.

    Raises:
        InputError: if there is no such device.
    """
    federation = federation_of(scenario)
    if federation is None or paths.find(federation.task.model_name, "traces", ".json") is None:
        return []
    named = machines or ((scenario.server.device,) if scenario.server.device else MACHINES)
    steps = _steps(federation, scenario)
    return [_outlook(hardware.load_device(name), federation, scenario, *steps) for name in named]


def check_data(scenario: Scenario) -> None:
    """Look through the data that a run would learn from, if they are there, for what it would refuse.

    Recordings are decoded into the cache, where the run finds them. Speech that fedsim makes itself is not
    made for this: it lacks nothing.

    Raises:
        InputError: as the run would, before its first round.
    """
    federation = federation_of(scenario)
    if federation is not None:
        federation.task.look_through(scenario.seed)


def check_weights(scenario: Scenario) -> list[str]:
    """What a run begins with, in sentences; none where its weights are fresh.

    The model is made for this, unless the data that decide its shape are not there (yet).

    Raises:
        InputError: they are not the model's.
    """
    federation = federation_of(scenario)
    if federation is None or federation.learning.init is None or federation.task.missing() is not None:
        return []
    from fedsim.learning import weights
    from fedsim.learning.local import fresh_model

    return weights.notes(federation.learning.init, fresh_model(federation.task, scenario.seed))


def _steps(federation: Federation, scenario: Scenario) -> tuple[int, Batches]:
    """Optimizer steps of the whole run, and the batches of the clients' workloads."""
    how = federation.learning
    loads, batches = make_workloads(scenario.workload, how.batch_size, scenario.fleet.clients, scenario.seed)
    clients = np.arange(scenario.fleet.clients, dtype=np.int64)
    if how.local_epochs is None:
        each = float(how.local_steps)
    else:
        held = float(loads.utterances[loads.of(clients)].mean())
        each = max(1.0, how.local_epochs * held / how.batch_size)
    baseline = how.baseline
    close, cohort = scenario.rounds.close, min(scenario.rounds.cohort, scenario.fleet.clients)
    updates = close.buffer if isinstance(close, Buffered) else cohort  # a round closes with so many
    trained = min(how.clients_per_round, updates)
    trained = {"local-only": 1, "no-pretraining": 0}.get(baseline or "", trained)
    return round(federation.rounds * trained * each), batches


def _technique(device: Device, federation: Federation, way: Way) -> Technique:
    """Half precision where the device has it; bfloat16 before float16, as the learner chooses."""
    how = federation.learning
    able = [p for p in ("bf16", "mixed") if how.precision == "mixed" and p in device.training_precisions]
    return Technique(
        precision=able[0] if able else "fp32",
        optimizer=how.optimizer,
        attention="sdpa",
        train=way.train,
        depth=way.depth,
        release_gradients=way.release_gradients,
        forward_only=way.forward_only,
    )


def _outlook(
    device: Device, federation: Federation, scenario: Scenario, steps: int, batches: Batches
) -> LearningOutlook:
    how = federation.learning
    trace = load_trace(federation.task.model_name)
    pricer, *each = (
        Pricer(device, trace, _technique(device, federation, w)) for w in (Way(), *federation.ways)
    )
    task, held = federation.task, batches.samples.astype(np.float64)
    size, most = task.padded(held), float(task.padded(np.array(np.inf)))
    whole = most if np.isfinite(most) else float(held.max())
    evaluated, at_once = task.evaluation_batches()
    step_s = float(np.mean([one.step_s(how.batch_size, size).mean() for one in each]))
    worker = max(float(one.footprint_bytes(how.batch_size, whole)) for one in each)
    share = float(pricer.forward_flops(how.batch_size, whole) / pricer.training_flops(how.batch_size, whole))
    times = (
        1 + sum(federation.evaluates(index) for index in range(federation.rounds))
        if federation.rounds < 10**6
        else 1
    )
    evaluation_s = float(times * evaluated * share * pricer.step_s(at_once, whole))
    downstream_s = 0.0
    if (after := task.finetuning) is not None:
        steps_s = pricer.step_s(after.batch_size, after.padded(held))
        downstream_s = after.times(federation.rounds) * after.steps * float(steps_s.mean())
        longest = after.padded(np.array(np.inf))
        worker = max(worker, float(pricer.footprint_bytes(after.batch_size, longest)))
    room = device.memory_bytes - device.system_bytes
    return LearningOutlook(
        machine=device.name,
        calibration=pricer.calibration.status,
        model=federation.task.model_name,
        precision=pricer.technique.precision,
        steps=steps,
        step_s=step_s,
        training_s=steps * step_s,
        evaluation_s=evaluation_s,
        downstream_s=downstream_s,
        fits=worker <= room,
        worker_bytes=worker,
        room_bytes=room,
        shared_bytes=_vector(federation, pricer.parameters)
        * ((federation.max_staleness + 2) * _WEIGHT_BYTES + 3 * _SUM_BYTES),
        disk_bytes=_disk_bytes(federation, scenario, pricer.parameters),
        corpus_missing=task.missing(),
    )


def _vector(federation: Federation, parameters: int) -> int:
    """Numbers that travel: the weights, and Adam's two moments of each where the server averages them."""
    how = federation.learning
    return parameters * (3 if how.optimizer_state == "averaged" and how.optimizer != "sgd" else 1)


def _disk_bytes(federation: Federation, scenario: Scenario, parameters: int) -> float | None:
    kept = federation.rounds // federation.learning.checkpoint_every + 3
    checkpoints = kept * _vector(federation, parameters) * _WEIGHT_BYTES * (1 + federation.max_staleness)
    data = federation.task.cached_bytes(speech.load(scenario.workload.corpus).seconds)
    return None if data is None else checkpoints + data
