"""The scenario: frozen data, checked once when it is loaded.

Each class below is one block of a scenario file; each field is one key, with its meaning in its
description. A key without a default is required; unknown keys are errors. Where a block is one of
several choices (a policy, a model of availability), the classes are those of the room that knows what
they do, and their fields are the keys. Quantities are SI inside (seconds, bytes, bytes per second) and
take units in the file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fedsim.engine.completion import COMPLETIONS, Completion, WaitAll
from fedsim.engine.selection import SELECTIONS, Random, Selection
from fedsim.fleet.availability import AVAILABILITIES, Always, Availability
from fedsim.fleet.battery import Battery
from fedsim.fleet.pressure import PRESSURES, Pressure, named
from fedsim.fleet.workload import Workload
from fedsim.hardware.device import Precision
from fedsim.learning.aggregate import AGGREGATIONS, Aggregation, FedAvg
from fedsim.learning.compression import COMPRESSIONS, Compression, Whole
from fedsim.learning.options import Learning
from fedsim.options import Bounds, Options, Rate, one_of, option
from fedsim.pricing.technique import Attention, OptimizerName
from fedsim.pricing.trained import EVERYTHING, TRAIN, FrozenCNN, Trained
from fedsim.words import PLAIN_NAME, plural

Checkpointing = bool | Literal["transformer", "cnn", "both"]


@dataclass(frozen=True, kw_only=True)
class Hardware(Options):
    """Which year's hardware the fleet is made of."""

    year: int | None = option(None, "project every device to this year; none: as sold", ge=2010, le=2100)
    trend: str = option("gao2022", "growth rates for the projection: a name from hardware/trends or a file")


@dataclass(frozen=True, kw_only=True)
class Differently(Options):
    """What of a training block is another for some clients or rounds; what is left out stays."""

    train: Annotated[Trained, TRAIN] | None = option(None, "what trains, and travels")
    depth: int | None = option(None, "how many layers run, from the first on", ge=1, le=10_000)
    precision: Precision | None = option(None, "fp32, mixed, ...")
    attention: Attention | None = option(None, "eager or sdpa")
    checkpointing: Checkpointing | None = option(None, "recompute activations instead of storing them")
    release_gradients: bool | None = option(None, "the optimizer steps inside the backward pass")
    forward_only: bool | None = option(None, "zeroth-order steps: two forward passes and no backward pass")

    @property
    def changes(self) -> dict[str, Any]:
        """The keys of a training block that are given, and their values."""
        keys = (field.name for field in dataclasses.fields(Differently))
        return {key: value for key in keys if (value := getattr(self, key)) is not None}


@dataclass(frozen=True, kw_only=True)
class Stage(Differently):
    """Some rounds in a row, and what is another in them."""

    rounds: int | None = option(
        None, "how many; only the last stage may leave it out, and lasts to the end", ge=1, le=10_000_000
    )


@dataclass(frozen=True, kw_only=True)
class Training(Options):
    """How a client trains, as the simulated clock and memory see it."""

    model: str = option("wav2vec2-base", "a layer trace: a name from traces/ or a file")
    precision: Precision = option(
        "fp32", "mixed precision falls back to fp32 on devices that do not support it"
    )
    batch_size: int = option(4, "examples a batch", ge=1, le=4096)
    local_epochs: int = option(1, "passes over the client's workload a round", ge=1, le=1000)
    optimizer: OptimizerName = option("adam", "decides the optimizer's memory and traffic")
    attention: Attention = option("eager", "eager stores attention maps; sdpa is fused")
    checkpointing: Checkpointing = option(
        False, "recompute activations instead of storing them; true means both"
    )
    start: Literal["cold", "warm"] = option(
        "cold",
        "cold: a client starts a process in every round, as its device's startup; warm: it runs all along",
    )
    train: Annotated[Trained, TRAIN] = option(
        EVERYTHING, "what trains, and travels; the rest keeps the weights that it begins with"
    )
    freeze_cnn: bool = option(False, "the same as train: frozen-cnn")
    depth: int | None = option(None, "how many layers run, from the first on; none: all", ge=1, le=10_000)
    release_gradients: bool = option(
        False, "the optimizer steps inside the backward pass; for real only without learning.clip_norm"
    )
    forward_only: bool = option(
        False,
        "zeroth-order steps: two forward passes and no backward pass; for real only with sgd, unclipped",
    )
    on_oom: Literal["drop", "shrink-batch", "checkpoint", "shallower"] = option(
        "drop",
        "drop out; halve the batch and accumulate gradients; recompute activations; or train less of it",
    )
    shallower: tuple[Differently, ...] = option(
        (), "with on_oom: shallower, what a client does instead: the first that fits, from the deepest on"
    )
    schedule: tuple[Stage, ...] = option((), "stages in order, each with its rounds and what differs in them")

    def __post_init__(self) -> None:
        if (self.on_oom == "shallower") != bool(self.shallower):
            given = "training.shallower is given" if self.shallower else "training.on_oom is shallower"
            other = "training.on_oom is not shallower" if self.shallower else "training.shallower is empty"
            raise ValueError(f"{given}, and {other}; they go together")
        if any(stage.rounds is None for stage in self.schedule[:-1]):
            raise ValueError("a stage of training.schedule that is not the last needs the key rounds")
        if self.freeze_cnn and self.train not in (EVERYTHING, FrozenCNN()):
            raise ValueError(f"training.freeze_cnn is true, and training.train says {self.train}; give one")

    @property
    def trained(self) -> Trained:
        """What trains."""
        return FrozenCNN() if self.freeze_cnn else self.train

    def but(self, differently: Differently | None) -> Training:
        """The same with what is another; ``freeze_cnn`` gives way to what else is to train."""
        changes: dict[str, Any] = {} if differently is None else differently.changes
        if "train" in changes:
            changes["freeze_cnn"] = False
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True, kw_only=True)
class MixEntry(Options):
    """One share of the fleet: a device model and the circumstances it lives in."""

    device: str = option(description="a name from hardware/ or a device file")
    share: float = option(description="share of the fleet's clients; all shares add up to 1", gt=0, le=1)
    link: str = option("wifi", "a name from hardware/links or a link file")
    availability: Annotated[Availability, one_of(Availability, AVAILABILITIES, "always")] = option(
        Always(), "when a client is reachable and willing"
    )
    pressure: Annotated[Pressure, one_of(Pressure, PRESSURES, "dedicated")] = option(
        named("dedicated"), "memory that other programs hold on a client"
    )
    battery: Battery | None = option(None, "leave out for clients that are always powered")
    speed_spread: float = option(
        0.0, "sigma of the lognormal spread of compute speed between clients", ge=0, le=1
    )
    memory_spread: float = option(
        0.0, "sigma of the lognormal spread of what the system itself holds", ge=0, le=1
    )
    utc_offsets: tuple[Annotated[float, Bounds(ge=-18, le=18)], ...] = option(
        (0.0,), "hours from UTC of the places where its clients live, drawn at random", min_length=1
    )
    crashes_per_day: float = option(0.0, "rate at which a client at work crashes", ge=0, le=86_400)
    training: Differently | None = option(None, "what its clients do otherwise than the scenario's training")


@dataclass(frozen=True, kw_only=True)
class FleetSpec(Options):
    """The population of clients."""

    clients: int = option(description="how many clients there are", ge=1, le=10_000_000)
    mix: tuple[MixEntry, ...] = option(description="what they are made of", min_length=1)

    def __post_init__(self) -> None:
        total = sum(entry.share for entry in self.mix)
        if abs(total - 1.0) > 1e-06:
            raise ValueError(f"the shares of fleet.mix add up to {total:.6g}; they must add up to 1")


@dataclass(frozen=True, kw_only=True)
class Rounds(Options):
    """The federated rounds."""

    count: int = option(description="how many rounds", ge=1, le=10_000_000)
    cohort: int = option(
        description="clients chosen a round; async: clients at work at once", ge=1, le=10_000_000
    )
    select: Annotated[Selection, one_of(Selection, SELECTIONS, "random")] = option(
        Random(), "how they are chosen among those online"
    )
    close: Annotated[Completion, one_of(Completion, COMPLETIONS, "wait-all")] = option(
        WaitAll(), "when the server stops waiting"
    )
    aggregate: Annotated[Aggregation, one_of(Aggregation, AGGREGATIONS, "fedavg")] = option(
        FedAvg(), "how updates become the next global model"
    )
    compression: Annotated[Compression, one_of(Compression, COMPRESSIONS, "none")] = option(
        Whole(), "what is done to an update before it is sent"
    )


@dataclass(frozen=True, kw_only=True)
class Server(Options):
    """The server's own link, shared by all transfers of a moment, and the machine beside it."""

    uplink: Rate = option(125e6, "what it can send")
    downlink: Rate = option(125e6, "what it can receive")
    device: str | None = option(None, "what trains the centralised baseline: a name or a file")


@dataclass(frozen=True, kw_only=True)
class Scenario(Options):
    """A whole scenario file."""

    name: str = option(
        description="names the run directory; by default made of the file's name", pattern=PLAIN_NAME
    )
    description: str = option("", "the question this scenario asks, for the report", max_length=2000)
    seed: int = option(0, "every random draw follows from it", ge=0, lt=2**63)
    hardware: Hardware = option(Hardware(), "which year's hardware the fleet is made of")
    fleet: FleetSpec = option(description="the population of clients")
    workload: Workload = option(
        Workload(), "what one client trains on in a round, as the simulated clock sees it"
    )
    training: Training = option(Training(), "how a client trains, as the simulated clock and memory see it")
    rounds: Rounds = option(description="the federated rounds")
    server: Server = option(
        Server(), "the server's own link, shared by all transfers of a moment, and the machine beside it"
    )
    learning: Learning | None = option(None, "leave out for a timing-only run")

    def __post_init__(self) -> None:
        self._check_schedule()
        kind = None if self.learning is None else self.learning.baseline
        if kind == "centralised" and self.server.device is None:
            raise ValueError("the baseline 'centralised' needs the key server.device: the machine it runs on")
        if kind == "local-only" and self.learning is not None and (self.learning.alone is not None):
            alone, last = (self.learning.alone, self.fleet.clients - 1)
            if alone > last:
                raise ValueError(f"learning.alone is {alone}; the fleet has clients 0 to {last}")

    def _check_schedule(self) -> None:
        """Every round has a stage, and every stage a round.

        Raises:
            ValueError: one has none.
        """
        stages, count = self.training.schedule, self.rounds.count
        if not stages:
            return
        *_, last = starts = stage_starts(stages)
        end = count if stages[-1].rounds is None else last + stages[-1].rounds
        if end < count:
            none = f"rounds {end + 1} to {count} have" if end + 1 < count else f"round {count} has"
            raise ValueError(
                f"the stages of training.schedule have {plural(end, 'round')}, and rounds.count is {count}: "
                f"{none} no stage"
            )
        late = next((k for k, start in enumerate(starts) if start >= count), None)
        if late is not None or end > count:
            some = f"stage {late + 1} never begins" if late is not None else f"the last ends after {end}"
            raise ValueError(
                f"the stages of training.schedule have more rounds than rounds.count, {count}: {some}"
            )


def stage_starts(stages: Sequence[Stage]) -> list[int]:
    """The first round of each stage, from 0; one that begins at once where there are none."""
    starts = [0]
    for stage in stages[:-1]:
        starts.append(starts[-1] + (stage.rounds or 0))
    return starts
