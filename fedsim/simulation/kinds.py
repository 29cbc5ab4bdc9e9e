"""The kinds of clients in a fleet: which device trains in which ways, and what of the model travels then.

Clients of one device and of one way to train are of one kind. What trains at a client travels up. What
travels down is what runs there and was trained by anybody so far: by any technique that the scenario has
for any kind in the stages up to that round.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fedsim.hardware import Device
from fedsim.learning.ways import Way, inserted_by
from fedsim.pricing import LayerTrace, Pricer, Technique, travel
from fedsim.pricing.structure import structure_of
from fedsim.pricing.transfer import update_bytes
from fedsim.scenario.model import MixEntry, Training, stage_starts
from fedsim.scenario.technique import Placed, in_words, name_of, said_of, techniques, way_of, ways

_BESIDE = (".bias", ".lora", ".adapter")


@dataclass(frozen=True, eq=False)
class Kind:
    """Clients that have one device and train in the same ways.

    Attributes:
        device: the device.
        training: what its entry of the mix says of training, as text; empty: what the scenario says.
        pricers: of each technique that they ever train with.
        order: by stage, positions in ``pricers`` in the order in which a client tries them.
        way: by pricer, the position of its way in those of the run.
        down_bytes: by stage and pricer, what is sent to a client.
        up_bytes: by pricer, what it sends back.
    """

    device: Device
    pricers: Sequence[Pricer]
    order: Sequence[Sequence[int]]
    way: Sequence[int]
    down_bytes: Sequence[Sequence[float]]
    up_bytes: Sequence[float]
    training: str = ""

    @property
    def name(self) -> tuple[str, str]:
        """The device's name and how it trains."""
        return self.device.name, self.training


@dataclass(frozen=True)
class Kinds:
    """The kinds of a fleet, and the ways in which they train.

    Attributes:
        kinds: in order of their names, all with as many pricers.
        starts: the first round of each stage.
        ways: the names of the ways.
        model: the layers of the model: ``input`` before the first, ``1``, ``2``, ... and ``head``.
        layers: by way, those that it trains.
    """

    kinds: tuple[Kind, ...]
    starts: tuple[int, ...]
    ways: tuple[str, ...]
    model: tuple[str, ...]
    layers: tuple[tuple[str, ...], ...]

    @property
    def trains(self) -> dict[str, list[str]]:
        """The layers that each way trains, by its name."""
        return dict(zip(self.ways, map(list, self.layers), strict=True))


def make(
    training: Training,
    mix: Sequence[MixEntry],
    devices: Mapping[str, Device],
    trace: LayerTrace,
    run_ways: Sequence[Way] | None = None,
    up_share: float = 1.0,
    down_share: float = 1.0,
) -> Kinds:
    """The kinds of a fleet.

    Args:
        training: the scenario's block.
        mix: the fleet's entries.
        devices: by the name that an entry gives them.
        trace: the model.
        run_ways: the ways of the run; None: those of these kinds.
        up_share: bytes that a client sends back over the bytes of what trains.
        down_share: bytes that it is sent over the bytes of the model's parts that it is sent.

    Raises:
        ScenarioError: a technique cannot be, or the model has no such layers.
    """
    numbers = list(run_ways if run_ways is not None else ways(training, [entry.training for entry in mix]))
    with said_of("training"):
        inserted_by(numbers)
    plans: dict[tuple[str, str], tuple[Device, list[list[Placed]]]] = {}
    for place, entry in enumerate(mix):
        device = devices[entry.device]
        key = f"fleet.mix[{place}].training"
        plan = techniques(training, entry.training, device.precisions, key)
        plans.setdefault((device.name, in_words(entry.training)), (device, plan))
    trained = _trained(trace, (one for _, plan in plans.values() for tried in plan for one in tried))
    stages = range(len(training.schedule) or 1)
    ever: list[dict[str, int]] = []
    for stage in stages:
        known = dict(ever[-1]) if ever else {}
        for _, plan in plans.values():
            for one in plan[stage]:
                known |= trained[one.technique]
        ever.append(known)
    owner = _owners(trace, ever[-1])
    most = max(len(_distinct(plan)) for _, plan in plans.values())
    made = []
    for (_, said), (device, plan) in sorted(plans.items()):
        distinct = _distinct(plan)
        pricers = []
        for one in distinct:
            with said_of(one.key):
                pricers.append(Pricer(device, trace, one.technique))
        place_of = {one.technique: place for place, one in enumerate(distinct)}
        padded = [*range(len(distinct)), *[len(distinct) - 1] * (most - len(distinct))]
        running = [travel.running(trace, one.technique) for one in distinct]
        sent = [trained[one.technique] for one in distinct]
        made.append(
            Kind(
                device=device,
                pricers=[pricers[k] for k in padded],
                order=[[place_of[one.technique] for one in plan[stage]] for stage in stages],
                way=[numbers.index(way_of(distinct[k].technique)) for k in padded],
                down_bytes=[[_sent(known, owner, running[k]) * down_share for k in padded] for known in ever],
                up_bytes=[update_bytes(sum(sent[k].values())) * up_share for k in padded],
                training=said,
            )
        )
    names, parts_of = layer_names(trace), {way_of(one): parts for one, parts in trained.items()}
    return Kinds(
        tuple(made),
        tuple(stage_starts(training.schedule)),
        tuple(map(name_of, numbers)),
        tuple(dict.fromkeys(names[layer.name] for layer in trace.layers if layer.parameters)),
        tuple(_layers({owner[part] for part in parts_of.get(way, ())}, names) for way in numbers),
    )


def _distinct(plan: Sequence[Sequence[Placed]]) -> list[Placed]:
    """Every technique of a plan once, where it first appears."""
    found: dict[Technique, Placed] = {}
    for one in (one for tried in plan for one in tried):
        found.setdefault(one.technique, one)
    return list(found.values())


def _trained(trace: LayerTrace, all_of_them: Iterable[Placed]) -> dict[Technique, dict[str, int]]:
    """How many numbers each technique trains, by part of the model."""
    found: dict[Technique, dict[str, int]] = {}
    for one, key in all_of_them:
        if one not in found:
            with said_of(key):
                found[one] = travel.trained(trace, one)
    return found


def _owners(trace: LayerTrace, parts: Iterable[str]) -> dict[str, str]:
    """The layer of a trace to which each part of a model belongs: itself, or where it was put in."""
    last = {layer.block: layer.name for layer in trace.layers if layer.block is not None}
    beside = {
        part: next((part.removesuffix(end) for end in _BESIDE if part.endswith(end)), part) for part in parts
    }
    return {part: last.get(name, name) for part, name in beside.items()}


def _sent(known: Mapping[str, int], owner: Mapping[str, str], running: frozenset[str]) -> float:
    """Bytes of what has trained so far, of the parts that run; what was put into the model runs with it."""
    return update_bytes(sum(n for part, n in known.items() if part in running or owner[part] in running))


def layer_names(trace: LayerTrace) -> dict[str, str]:
    """What each layer of a trace counts to: ``input``, the number of a layer of the model, or ``head``."""
    found = structure_of(trace)
    return {
        layer.name: "head" if layer.name in found.head else str(found.number.get(layer.name, "input"))
        for layer in trace.layers
    }


def _layers(trained: set[str], names: Mapping[str, str]) -> tuple[str, ...]:
    """The layers of a model to which these of its trace count, in the order in which they run."""
    found = {name for layer, name in names.items() if layer in trained}
    return tuple(name for name in dict.fromkeys(names.values()) if name in found)
