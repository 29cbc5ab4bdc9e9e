"""From the words of a scenario to the objects that they name: world, plan, learner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from fedsim import checks, hardware, paths
from fedsim.engine.completion import Buffered, WaitAll
from fedsim.engine.plan import Plan
from fedsim.engine.records import RoundRecord
from fedsim.errors import ScenarioError, about
from fedsim.fleet import Battery, Fleet, Group, speech
from fedsim.fleet.batches import Batches
from fedsim.fleet.workload import Workload, Workloads
from fedsim.hardware import Device, Link
from fedsim.learning import Federation, Way, baselines, make_learner
from fedsim.pricing import LayerTrace, load_trace
from fedsim.pricing.sizes import held
from fedsim.pricing.structure import structure_of
from fedsim.scenario import Scenario, file_access
from fedsim.scenario.model import MixEntry
from fedsim.scenario.technique import in_model, in_words, ways
from fedsim.simulation import habits
from fedsim.simulation import kinds as kinds_
from fedsim.simulation.baseline import Alone, kind_of, on_server
from fedsim.simulation.kinds import Kind, Kinds
from fedsim.simulation.learner import RunLearner
from fedsim.simulation.world import FleetWorld, make_workloads
from fedsim.units import DAY_S, HOUR_S

MAX_STALENESS = 20  # rounds; an asynchronous update based on an older model is rejected

WEIGHTS = "init"
"""The heading under which the manifest lists weights that a run began with."""

MakeLearner = Callable[..., RunLearner]


@dataclass(frozen=True)
class Composition:
    """A scenario as objects.

    Attributes:
        world: what the engine asks.
        plan: what the server does.
        kinds: devices and how they train, by position; ``world.kind`` holds each client's position.
        devices: device names, by position; ``world.device`` holds each client's position.
        ways: names of the ways to train, by position.
        inputs: every file that was read, by the label under which the manifest lists it.
        notes: more that decides the result, for the manifest.
        learner: makes the learner from a number of workers, a checkpoint folder and perhaps what
            makes its pool (see ``learning.workers``); None for a timing-only run.
        clients: how many clients the fleet has.
        alone: the client of the fleet who is client 0 of the world, where there is but one.
        pretrains: False for the baseline without pretraining: the initial model is fine-tuned.
    """

    world: FleetWorld | Alone
    plan: Plan
    kinds: tuple[Kind, ...]
    devices: tuple[str, ...]
    ways: tuple[str, ...]
    inputs: Mapping[str, Path]
    notes: Mapping[str, Any] = field(default_factory=dict)
    learner: MakeLearner | None = None
    clients: int = 0
    alone: int = 0
    pretrains: bool = True

    def columns(self, record: RoundRecord) -> dict[str, ArrayLike]:
        """The columns of ``clients.parquet`` for one round, ``round`` aside."""
        columns: dict[str, ArrayLike] = dict(record.clients.arrays())
        del columns["round"]
        columns["device"] = self.world.device[record.clients.client]
        columns["client"] = record.clients.client + self.alone
        return columns


def compose(scenario: Scenario) -> Composition:
    """Make the objects of a checked scenario.

    Raises:
        InputError: if a file that it names cannot be used.
    """
    baseline = kind_of(scenario)
    if baseline == "centralised":
        scenario = on_server(asked := scenario)
    else:
        asked = scenario
    inputs: dict[str, Path] = {}
    devices = {entry.device: _device(entry.device, scenario, inputs) for entry in scenario.fleet.mix}
    trace = held(load_trace(scenario.training.model), scenario.workload.fixed)
    _note_file(inputs, "traces", trace.file)
    kinds = _kinds(scenario, asked, devices, trace)
    fleet = Fleet.build(_groups(devices, scenario, inputs), scenario.fleet.clients, scenario.seed)
    if scenario.workload.examples is None:
        corpus = paths.find(scenario.workload.corpus, speech.FOLDER, ".yaml")
        if corpus is not None:
            _note_file(inputs, speech.FOLDER, str(corpus))
    if asked.server.device is not None:
        _note_file(inputs, "hardware", hardware.load_device(asked.server.device).file)
    if asked.learning is not None:
        for path in file_access.files_of({"learning": {**checks.dump(asked.learning), "init": None}}):
            _note_file(inputs, asked.learning.task.label(path), str(path))
        for path in asked.learning.begins_with():
            _note_file(inputs, WEIGHTS, str(path))
    loads, work = _work(scenario)
    startup_s = None
    if scenario.training.start == "cold":
        starts = {device.name: hardware.startup(device) for device in devices.values()}
        startup_s = {name: start.seconds for name, start in starts.items()}
        if not all(start.own for start in starts.values()):
            _note_file(inputs, "hardware", str(hardware.families_file()))
    epochs = scenario.training.local_epochs
    world = FleetWorld.build(fleet, kinds.kinds, loads, work, epochs, kinds.starts, startup_s)
    alone = _alone(scenario)
    plan = Plan(
        rounds=scenario.rounds.count if baseline != "no-pretraining" else 0,
        cohort=scenario.rounds.cohort if alone is None else 1,
        select=scenario.rounds.select,
        close=scenario.rounds.close if alone is None else WaitAll(),
        server_down_bytes_per_s=scenario.server.uplink,
        server_up_bytes_per_s=scenario.server.downlink,
        seed=scenario.seed,
    )
    calibration = {kind.device.name: kind.pricers[0].calibration.status for kind in kinds.kinds}
    trains = {"layers": list(kinds.model), "trains": kinds.trains} if len(kinds.ways) > 1 else {}
    return Composition(
        world=Alone(world, alone or 0) if baseline in ("centralised", "local-only") else world,
        plan=plan,
        kinds=kinds.kinds,
        devices=world.devices,
        ways=kinds.ways,
        inputs=inputs,
        notes={"calibration": calibration, **trains, **habits.notes(scenario), **_metrics(asked)},
        learner=_learner(asked),
        clients=scenario.fleet.clients,
        alone=alone or 0,
        pretrains=baseline != "no-pretraining",
    )


def _alone(scenario: Scenario) -> int | None:
    return None if scenario.learning is None else scenario.learning.alone


def check(scenario: Scenario) -> None:
    """Make all that :func:`compose` makes but the prices and the clients, to find what cannot be used.

    Raises:
        InputError: as :func:`compose` would.
    """
    inputs: dict[str, Path] = {}
    trace = held(load_trace(scenario.training.model), scenario.workload.fixed)
    devices = {entry.device: _device(entry.device, scenario, inputs) for entry in scenario.fleet.mix}
    _kinds(scenario, scenario, devices, trace)
    _groups(devices, scenario, inputs)
    _work(scenario)
    if scenario.learning is not None:
        scenario.learning.begins_with()


def _work(scenario: Scenario) -> tuple[Workloads, Batches]:
    block = scenario.workload
    asked = (block, scenario.training.batch_size, scenario.fleet.clients, scenario.seed)
    return _made(speech.load(block.corpus) if block.examples is None else None, *asked)


@lru_cache(maxsize=2)
def _made(
    corpus: speech.Speech | None, block: Workload, batch_size: int, clients: int, seed: int
) -> tuple[Workloads, Batches]:
    """The workloads and batches of the scenario before are often those of the next."""
    return make_workloads(block, batch_size, clients, seed)


def _note_file(inputs: dict[str, Path], folder: str, file: str) -> None:
    path = Path(file)
    label, number = f"{folder}/{path.name}", 1
    while inputs.get(label, path) != path:  # another file of the same name
        number += 1
        label = f"{folder}/{path.name} ({number})"
    inputs[label] = path


def _device(name: str, scenario: Scenario, inputs: dict[str, Path]) -> Device:
    device = hardware.load_device(name)
    _note_file(inputs, "hardware", device.file)
    if scenario.hardware.year is None:
        return device
    trend = hardware.load_trend(scenario.hardware.trend)
    _note_file(inputs, "hardware/trends", trend.file)
    return hardware.project(device, scenario.hardware.year, trend)


def _kinds(scenario: Scenario, asked: Scenario, devices: Mapping[str, Device], trace: LayerTrace) -> Kinds:
    """The kinds of the fleet of ``scenario``, in the ways of the scenario that was asked for."""
    rounds = scenario.rounds
    return kinds_.make(
        scenario.training,
        scenario.fleet.mix,
        devices,
        trace,
        _ways(asked),
        rounds.compression.bytes_share + len(rounds.aggregate.keeps),
        1.0 + len(rounds.aggregate.sends),
    )


def _ways(scenario: Scenario) -> tuple[Way, ...]:
    """In which ways clients train; one machine with all the data has no entry of the mix."""
    alone = kind_of(scenario) == "centralised"
    return ways(scenario.training, [None] if alone else [entry.training for entry in scenario.fleet.mix])


def _link(name: str, scenario: Scenario, inputs: dict[str, Path]) -> Link:
    link = hardware.load_link(name)
    _note_file(inputs, "hardware/links", link.file)
    if scenario.hardware.year is None:
        return link
    return hardware.project_link(link, scenario.hardware.year, hardware.load_trend(scenario.hardware.trend))


def _groups(devices: Mapping[str, Device], scenario: Scenario, inputs: dict[str, Path]) -> list[Group]:
    """The groups of the mix; what is wrong with one is said of its place in the scenario."""
    groups = []
    for number, entry in enumerate(scenario.fleet.mix):
        with about(key=f"fleet.mix[{number}]"):
            groups.append(_group(entry, devices[entry.device], scenario, inputs))
    habits.check(groups, {device.name: device for device in devices.values()}, scenario.fleet.clients)
    return groups


def _group(entry: MixEntry, device: Device, scenario: Scenario, inputs: dict[str, Path]) -> Group:
    for folder, model in (("availability", entry.availability), ("pressure", entry.pressure)):
        for path in model.files():
            _note_file(inputs, folder, str(path))
    return Group(
        device=device.name,
        share=entry.share,
        link=_link(entry.link, scenario, inputs),
        availability=entry.availability.load(),
        pressure=entry.pressure.load(),
        speed_spread=entry.speed_spread,
        memory_spread=entry.memory_spread,
        utc_offsets_s=tuple(round(hours * HOUR_S) for hours in entry.utc_offsets),
        battery=_battery(entry, device),
        crash_per_s=entry.crashes_per_day / DAY_S,
        training=in_words(entry.training),
    )


def _battery(entry: MixEntry, device: Device) -> Battery | None:
    if entry.battery is None or entry.battery.capacity is not None:
        return entry.battery
    if device.battery_j is None:
        raise ScenarioError(f"{device.name} has no battery of its own; give battery.capacity")
    return replace(entry.battery, capacity=device.battery_j)


def _metrics(scenario: Scenario) -> dict[str, Any]:
    """What the task's metrics mean, for whoever reads the run without knowing the task."""
    if scenario.learning is None:
        return {}
    return {"metrics": {metric.name: asdict(metric) for metric in scenario.learning.task.metrics}}


def federation_of(scenario: Scenario) -> Federation | None:
    """Who learns what, and how; None for a timing-only run."""
    if scenario.learning is None:
        return None
    return Federation(
        learning=scenario.learning,
        aggregate=scenario.rounds.aggregate,
        compression=scenario.rounds.compression,
        clients=scenario.fleet.clients,
        rounds=scenario.rounds.count,
        max_staleness=MAX_STALENESS if isinstance(scenario.rounds.close, Buffered) else 0,
        ways=_learned_ways(scenario, scenario.learning.task.model_name),
    )


def _learned_ways(scenario: Scenario, model: str) -> tuple[Way, ...]:
    """The ways in the model that is really trained; it may have fewer layers than the one that is priced."""
    priced, found = scenario.training.model, _ways(scenario)
    if model == priced or paths.find(model, "traces", ".json") is None:
        return found
    layers, others = (len(structure_of(load_trace(name)).layers) for name in (priced, model))
    return tuple(in_model(way, layers, others) for way in found) if layers and others else found


def _learner(scenario: Scenario) -> MakeLearner | None:
    federation = federation_of(scenario)
    if federation is None:
        return None

    def make(workers: int, checkpoints: Path, make_pool: Any = None) -> RunLearner:
        learnt = baselines.of(federation, scenario.rounds.cohort, scenario.seed)
        return make_learner(learnt, scenario.seed, workers, checkpoints, make_pool)

    return make
