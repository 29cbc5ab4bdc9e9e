"""The scenario: frozen data, checked once when it is loaded.

Each class below is one block of a scenario file; each field is one key, with its meaning in its
description. A key without a default is required; unknown keys are errors. Where a block is one of
several choices (a policy, a model of availability), the classes are those of the room that knows what
they do, and their fields are the keys. Quantities are SI inside (seconds, bytes, bytes per second) and
take units in the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from fedsim.engine.completion import COMPLETIONS, Completion, WaitAll
from fedsim.engine.selection import SELECTIONS, Random, Selection
from fedsim.fleet.workload import Workload
from fedsim.options import (
    Bounds,
    Choice,
    Duration,
    Energy,
    Options,
    Power,
    Rate,
    Size,
    kind,
    one_of,
    option,
)

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$"


class Availability(Choice):
    """When a client is reachable and willing."""

    point = "availability model"


@dataclass(frozen=True)
class Always(Availability):
    """At any time."""

    kind: Literal["always"] = kind("always")


@dataclass(frozen=True)
class Overnight(Availability):
    """While the owner sleeps."""

    kind: Literal["overnight"] = kind("overnight")


@dataclass(frozen=True)
class Markov(Availability):
    """On and off at random."""

    mean_online: Duration = option(description="mean length of an online spell")
    mean_offline: Duration = option(description="mean length of an offline spell")
    kind: Literal["markov"] = kind("markov")


@dataclass(frozen=True)
class AvailabilityTrace(Availability):
    """As recorded."""

    file: str = option(description="CSV or Parquet with client, start_s, end_s")
    period: Duration | None = option(None, "it repeats after so long; none: it does not")
    kind: Literal["trace"] = kind("trace")


class Pressure(Choice):
    """Memory that other programs hold on a client."""

    point = "pressure model"


@dataclass(frozen=True)
class Dedicated(Pressure):
    """A machine that does nothing else."""

    kind: Literal["dedicated"] = kind("dedicated")


@dataclass(frozen=True)
class Phone(Pressure):
    """A phone."""

    kind: Literal["phone"] = kind("phone")


@dataclass(frozen=True)
class Laptop(Pressure):
    """A laptop."""

    kind: Literal["laptop"] = kind("laptop")


@dataclass(frozen=True)
class Constant(Pressure):
    """The same at any time."""

    bytes: Size = option(description="how much is held, always")
    kind: Literal["constant"] = kind("constant")


@dataclass(frozen=True)
class PressureTrace(Pressure):
    """As recorded."""

    file: str = option(description="CSV or Parquet with client, start_s, end_s, bytes")
    period: Duration | None = option(None, "it repeats after so long; none: it does not")
    kind: Literal["trace"] = kind("trace")


AVAILABILITIES = (Always, Overnight, Markov, AvailabilityTrace)
PRESSURES = (Dedicated, Phone, Laptop, Constant, PressureTrace)


class Compression(Choice):
    """What is done to an update before it is sent."""

    point = "compression"


@dataclass(frozen=True)
class Whole(Compression):
    """Nothing."""

    kind: Literal["none"] = kind("none")


@dataclass(frozen=True)
class Half(Compression):
    """Half precision."""

    kind: Literal["fp16"] = kind("fp16")


@dataclass(frozen=True)
class Int8(Compression):
    """Eight bits."""

    kind: Literal["int8"] = kind("int8")


@dataclass(frozen=True)
class TopK(Compression):
    """The largest."""

    share: float = option(description="share of the coordinates that are kept", gt=0, le=1)
    kind: Literal["top-k"] = kind("top-k")


COMPRESSIONS = (Whole, Half, Int8, TopK)


class Corpus(Choice):
    """The speech that is really trained on."""

    point = "corpus"


@dataclass(frozen=True)
class Espeak(Corpus):
    """Synthetic, nothing to download."""

    language: str | None = option(
        None, "espeak speaks it; else the language to pick", pattern=r"^[A-Za-z0-9-]{1,35}$"
    )
    speakers: int = option(40, "espeak: voices, some held out for validation", ge=4, le=10_000)
    minutes: float | None = option(
        None, "espeak: of speech in all; else the most training speech taken", gt=0, le=60_000
    )
    outside: bool = option(False, "recordings may lie outside its folder; only --set can say so")
    kind: Literal["espeak"] = kind("espeak")

    def __post_init__(self) -> None:
        if self.language not in (None, "it"):
            raise ValueError(f"espeak sentences are written for 'it' only, not for {self.language!r}")


@dataclass(frozen=True)
class Manifest(Corpus):
    """A CSV."""

    path: str = option(description="manifest: the CSV; common-voice: the folder")
    language: str | None = option(
        None, "espeak speaks it; else the language to pick", pattern=r"^[A-Za-z0-9-]{1,35}$"
    )
    speakers: int = option(40, "espeak: voices, some held out for validation", ge=4, le=10_000)
    minutes: float | None = option(
        None, "espeak: of speech in all; else the most training speech taken", gt=0, le=60_000
    )
    outside: bool = option(False, "recordings may lie outside its folder; only --set can say so")
    kind: Literal["manifest"] = kind("manifest")


@dataclass(frozen=True)
class CommonVoice(Manifest):
    """A folder."""

    kind: Literal["common-voice"] = kind("common-voice")  # type: ignore[assignment]


CORPORA = (Espeak, Manifest, CommonVoice)


@dataclass(frozen=True)
class Byzantine(Options):
    """Clients that send garbage in place of an update."""

    share: float = option(description="chance of each client to be one of them, all the run", gt=0, le=1)
    kind: Literal["nan", "inf", "huge", "truncated", "extended", "integers", "noise", "sign-flip"] = option(
        description="noise and sign-flip pass for updates; the others are rejected"
    )
    scale: float | None = option(
        None, "noise, sign-flip: its norm, in norms of the client's honest update (default 1)", gt=0, le=1e6
    )

    def __post_init__(self) -> None:
        if self.scale is not None and self.kind not in ("noise", "sign-flip"):
            raise ValueError(f"the key 'scale' belongs to noise or sign-flip, not to {self.kind!r}")


@dataclass(frozen=True)
class Hardware(Options):
    """Which year's hardware the fleet is made of."""

    year: int | None = option(None, "project every device to this year; none: as sold", ge=2010, le=2100)
    trend: str = option("gao2022", "growth rates for the projection: a name from hardware/trends or a file")


@dataclass(frozen=True, kw_only=True)
class BatterySpec(Options):
    """What a client runs on when it is not plugged in; it is plugged in overnight."""

    capacity: Energy | None = option(None, "when full; by default the device's own battery")
    floor: float = option(0.2, "share of a full charge at which a client gives up", ge=0, lt=1)
    start: float = option(0.3, "share of a full charge that it takes to accept work", gt=0, le=1)
    charge: Power = option(10.0, "power at which it charges while plugged in")
    plugged: Literal["overnight", "never"] = option("overnight", "when it is plugged in")

    def __post_init__(self) -> None:
        if self.start <= self.floor:
            raise ValueError(f"start {self.start:g} must lie above floor {self.floor:g}")


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
        Dedicated(), "memory that other programs hold on a client"
    )
    battery: BatterySpec | None = option(None, "leave out for clients that are always powered")
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
class Training(Options):
    """How a client trains, as the simulated clock and memory see it."""

    model: str = option("wav2vec2-base", "a layer trace: a name from traces/ or a file")
    precision: Literal["fp32", "mixed", "bf16"] = option(
        "fp32", "mixed precision falls back to fp32 on devices that do not support it"
    )
    batch_size: int = option(4, "utterances a batch", ge=1, le=4096)
    local_epochs: int = option(1, "passes over the client's workload a round", ge=1, le=1000)
    optimizer: Literal["sgd", "momentum", "adam", "adamw", "adafactor", "adam8bit"] = option(
        "adam", "decides the optimizer's memory and traffic"
    )
    attention: Literal["eager", "sdpa"] = option("eager", "eager stores attention maps; sdpa is fused")
    checkpointing: bool | Literal["transformer", "cnn", "both"] = option(
        False, "recompute activations instead of storing them; true means both"
    )
    freeze_cnn: bool = option(False, "do not train the CNN encoder")
    on_oom: Literal["drop", "shrink-batch", "checkpoint"] = option(
        "drop", "drop out; halve the batch and accumulate gradients; or recompute activations"
    )


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
    aggregate: Literal[
        "fedavg", "uniform", "loss-weighted", "fedprox", "fedadam", "fedyogi", "trimmed-mean"
    ] = option("fedavg", "how updates become the next global model")
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
class Downstream(Options):
    """Fine-tuning for speech recognition with CTC, within the run."""

    every: int = option(0, "rounds between fine-tunings; 0: after the last round only", ge=0)
    minutes: float = option(10.0, "transcribed training speech used at most", gt=0)
    steps: int = option(400, "optimizer steps", ge=1)
    batch_size: int = option(8, "utterances a step", ge=1)
    learning_rate: float = option(1e-3, "peak of Adam's rate for the encoder", gt=0, le=1)
    head_rate: float = option(3e-3, "peak of Adam's rate for the layers on top", gt=0, le=1)
    test_minutes: float = option(5.0, "test speech recognised at most", gt=0)
    longest_seconds: float = option(15.0, "longer training utterances are left out", gt=0)


@dataclass(frozen=True, kw_only=True)
class Learning(Options):
    """Real training of real models; leave the block out for a timing-only run."""

    model: Literal["wav2vec2-tiny", "wav2vec2-small", "wav2vec2-base", "wav2vec2-large"] = option(
        "wav2vec2-tiny", "the model that is really trained"
    )
    corpus: Annotated[Corpus, one_of(Corpus, CORPORA, "espeak")] = option(
        Espeak(), "the speech that is really trained on"
    )
    partition: Literal["by-speaker", "natural", "dirichlet-speakers", "dirichlet-quality"] = option(
        "by-speaker", "how training speech is divided among clients"
    )
    parts: int | None = option(None, "number of parts; none: one a training speaker", ge=1)
    dirichlet_alpha: float = option(0.5, "concentration of the dirichlet partitions", gt=0)
    low_quality: float = option(0.0, "share of the parts that are recorded badly", ge=0, le=1)
    clients_per_round: int = option(
        8, "of those that complete, how many are trained for real", ge=1, le=10_000
    )
    evaluate_every: int = option(2, "rounds between evaluations; the last always is", ge=1)
    batch_size: int = option(4, "utterances a step of real training", ge=1, le=512)
    local_steps: int = option(8, "optimizer steps a client takes in a round", ge=1, le=100_000)
    local_epochs: float | None = option(
        None, "passes over the client's part, instead of steps", gt=0, le=1000
    )
    learning_rate: float = option(2e-3, "peak rate of the local optimizer", gt=0, le=1)
    warmup_rounds: int = option(3, "rounds over which the learning rate rises", ge=0)
    decay: Literal["none", "linear"] = option("none", "of the learning rate after the warm-up")
    optimizer: Literal["adam", "adamw", "sgd"] = option("adam", "the local optimizer")
    optimizer_state: Literal["fresh", "averaged"] = option(
        "fresh", "fresh in every round, or averaged by the server with the weights"
    )
    precision: Literal["fp32", "mixed"] = option("fp32", "of the real training; mixed needs a GPU")
    device: Literal["auto", "cpu", "cuda"] = option(
        "auto", "where real training happens; auto: on a GPU if there is one"
    )
    crop_seconds: float = option(2.0, "longest piece of an utterance in a batch", ge=0.5, le=60)
    feature_gradient_scale: float = option(
        1.0, "factor on the gradient that reaches the convolutions", ge=0, le=1
    )
    proximal: float = option(0.01, "fedprox: strength mu of the pull to the global model", ge=0)
    server_rate: float = option(3e-3, "fedadam, fedyogi: the server's learning rate", gt=0)
    trim: float = option(0.1, "trimmed-mean: share left out at each end", ge=0, lt=0.5)
    largest_update: float = option(
        10.0,
        "an update is rejected if its norm exceeds so many norms of the initial model",
        gt=0,
        le=1e6,
    )
    byzantine: Byzantine | None = option(None, "clients that send garbage")
    staleness_exponent: float = option(
        0.5, "async: an update s rounds late weighs (1 + s)**-exponent as much", ge=0
    )
    checkpoint_every: int = option(
        10, "rounds between checkpoints that are kept; the newest two always are", ge=1
    )
    evaluation_seconds: float = option(60.0, "held-out speech evaluated at most", gt=0)
    downstream: Downstream | None = option(None, "fine-tune for recognition, for WER and CER")
    baseline: Literal["centralised", "local-only", "no-pretraining"] | None = option(
        None,
        "instead of the federation: its steps in one place on server.device; one client alone;"
        " or the downstream task on fresh weights",
    )
    alone: int | None = option(None, "local-only: the client that is alone", ge=0)

    def __post_init__(self) -> None:
        if self.baseline == "no-pretraining" and self.downstream is None:
            raise ValueError("'no-pretraining' needs the key 'downstream' beside it")
        if (self.alone is not None) != (self.baseline == "local-only"):
            raise ValueError("the key 'alone' belongs to baseline 'local-only', and that needs it")


@dataclass(frozen=True, kw_only=True)
class Scenario(Options):
    """A whole scenario file."""

    name: str = option(description="names the run directory; by default the file's name", pattern=_NAME)
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
        kind = None if self.learning is None else self.learning.baseline
        if kind == "centralised" and self.server.device is None:
            raise ValueError("the baseline 'centralised' needs the key server.device: the machine it runs on")
        if kind == "local-only" and self.learning is not None and (self.learning.alone is not None):
            alone, last = (self.learning.alone, self.fleet.clients - 1)
            if alone > last:
                raise ValueError(f"learning.alone is {alone}; the fleet has clients 0 to {last}")
