"""The scenario: frozen data, checked once when it is loaded.

Each class below is one block of a scenario file; each field is one key, with its meaning in its
description. A key without a default is required; unknown keys are errors. Quantities are SI
inside (seconds, bytes, bytes per second) and take units in the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from fedsim.scenario.quantities import Duration, Energy, Power, Rate, Size

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$"


class Block(BaseModel):
    """A block of a scenario file: frozen, strictly typed, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _kind(value: Any) -> Any:
    """Read the short form ``availability: overnight`` as ``{kind: overnight}``."""
    return {"kind": value} if isinstance(value, str) else value


def _policy(value: Any) -> Any:
    """Read the short form ``close: wait-all`` as ``{policy: wait-all}``."""
    return {"policy": value} if isinstance(value, str) else value


def _needs(
    block: Block,
    kind: str,
    wanted: Mapping[str, tuple[str, ...]],
    options: tuple[str, ...],
    may: Mapping[str, tuple[str, ...]] | None = None,
) -> None:
    """Check that the options which ``kind`` needs are given, and none that it neither needs nor may have."""
    for option in options:
        given = getattr(block, option) is not None
        needed = option in wanted.get(kind, ())
        if needed and not given:
            raise ValueError(f"{kind!r} needs the key {option!r} beside it")
        if given and not needed and option not in (may or {}).get(kind, ()):
            taking = (*wanted.items(), *(may or {}).items())
            owners = [name for name, taken in taking if option in taken]
            raise ValueError(f"the key {option!r} belongs to {' or '.join(owners)}, not to {kind!r}")


class Hardware(Block):
    """Which year's hardware the fleet is made of."""

    year: int | None = Field(
        None, ge=2010, le=2100, description="project every device to this year; none: as sold"
    )
    trend: str = Field(
        "gao2022", description="growth rates for the projection: a name from hardware/trends or a file"
    )


class AvailabilitySpec(Block):
    """When a client is reachable and willing."""

    kind: Literal["always", "overnight", "markov", "trace"] = Field(
        "always", description="the availability model"
    )
    mean_online: Duration | None = Field(None, description="markov: mean length of an online spell")
    mean_offline: Duration | None = Field(None, description="markov: mean length of an offline spell")
    file: str | None = Field(None, description="trace: CSV or Parquet with client, start_s, end_s")
    period: Duration | None = Field(None, description="trace: it repeats after so long; none: it does not")

    @model_validator(mode="after")
    def _options(self) -> AvailabilitySpec:
        wanted = {"markov": ("mean_online", "mean_offline"), "trace": ("file",)}
        options = ("mean_online", "mean_offline", "file", "period")
        _needs(self, self.kind, wanted, options, {"trace": ("period",)})
        return self


class PressureSpec(Block):
    """Memory that other programs hold on a client."""

    kind: Literal["dedicated", "phone", "laptop", "constant", "trace"] = Field(
        "dedicated", description="the model of background memory"
    )
    bytes: Size | None = Field(None, description="constant: how much is held, always")
    file: str | None = Field(None, description="trace: CSV or Parquet with client, start_s, end_s, bytes")
    period: Duration | None = Field(None, description="trace: it repeats after so long; none: it does not")

    @model_validator(mode="after")
    def _options(self) -> PressureSpec:
        wanted, options = {"constant": ("bytes",), "trace": ("file",)}, ("bytes", "file", "period")
        _needs(self, self.kind, wanted, options, {"trace": ("period",)})
        return self


class BatterySpec(Block):
    """What a client runs on when it is not plugged in; it is plugged in overnight."""

    capacity: Energy | None = Field(None, description="when full; by default the device's own battery")
    floor: float = Field(0.2, ge=0, lt=1, description="share of a full charge at which a client gives up")
    start: float = Field(0.3, gt=0, le=1, description="share of a full charge that it takes to accept work")
    charge: Power = Field(10.0, description="power at which it charges while plugged in")
    plugged: Literal["overnight", "never"] = Field("overnight", description="when it is plugged in")

    @model_validator(mode="after")
    def _above_floor(self) -> BatterySpec:
        if self.start <= self.floor:
            raise ValueError(f"start {self.start:g} must lie above floor {self.floor:g}")
        return self


class MixEntry(Block):
    """One share of the fleet: a device model and the circumstances it lives in."""

    device: str = Field(description="a name from hardware/ or a device file")
    share: float = Field(gt=0, le=1, description="share of the fleet's clients; all shares add up to 1")
    link: str = Field("wifi", description="a name from hardware/links or a link file")
    availability: Annotated[AvailabilitySpec, BeforeValidator(_kind)] = AvailabilitySpec(kind="always")
    pressure: Annotated[PressureSpec, BeforeValidator(_kind)] = PressureSpec(kind="dedicated")
    battery: BatterySpec | None = Field(None, description="leave out for clients that are always powered")
    speed_spread: float = Field(
        0.0, ge=0, le=1, description="sigma of the lognormal spread of compute speed between clients"
    )
    memory_spread: float = Field(
        0.0, ge=0, le=1, description="sigma of the lognormal spread of what the system itself holds"
    )
    utc_offsets: list[Annotated[float, Field(ge=-18, le=18)]] = Field(
        [0.0],
        min_length=1,
        description="hours from UTC of the places where its clients live, drawn at random",
    )
    crashes_per_day: float = Field(0.0, ge=0, le=86_400, description="rate at which a client at work crashes")


class FleetSpec(Block):
    """The population of clients."""

    clients: int = Field(ge=1, le=10_000_000, description="how many clients there are")
    mix: list[MixEntry] = Field(min_length=1, description="what they are made of")

    @model_validator(mode="after")
    def _shares(self) -> FleetSpec:
        total = sum(entry.share for entry in self.mix)
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"the shares of fleet.mix add up to {total:.6g}; they must add up to 1")
        return self


class Workload(Block):
    """What one client trains on in a round, as the simulated clock sees it."""

    corpus: str = Field(
        "common-voice-it-7", description="a profile of utterance lengths: a name from traces/lengths"
    )
    partition: Literal["by-speaker", "equal-hours"] = Field(
        "by-speaker", description="by-speaker: a speaker a client; equal-hours: all speech in equal parts"
    )
    utterances: int | None = Field(
        None, ge=1, le=10_000_000, description="this many utterances a client, whoever speaks them"
    )
    mean_seconds: float | None = Field(
        None, gt=0, le=60, description="rescale the utterance lengths to this mean, in seconds"
    )
    max_seconds: float | None = Field(
        None, gt=0, le=600, description="leave out longer utterances, in seconds"
    )
    batching: Literal["shuffled", "sorted"] = Field(
        "shuffled", description="shuffled: batches at random, padded to their longest; sorted: by length"
    )


class Training(Block):
    """How a client trains, as the simulated clock and memory see it."""

    model: str = Field("wav2vec2-base", description="a layer trace: a name from traces/ or a file")
    precision: Literal["fp32", "mixed", "bf16"] = Field(
        "fp32", description="mixed precision falls back to fp32 on devices that do not support it"
    )
    batch_size: int = Field(4, ge=1, le=4096, description="utterances a batch")
    local_epochs: int = Field(1, ge=1, le=1000, description="passes over the client's workload a round")
    optimizer: Literal["sgd", "momentum", "adam", "adamw", "adafactor", "adam8bit"] = Field(
        "adam", description="decides the optimizer's memory and traffic"
    )
    attention: Literal["eager", "sdpa"] = Field(
        "eager", description="eager stores attention maps; sdpa is fused"
    )
    checkpointing: bool | Literal["transformer", "cnn", "both"] = Field(
        False, description="recompute activations instead of storing them; true means both"
    )
    freeze_cnn: bool = Field(False, description="do not train the CNN encoder")
    on_oom: Literal["drop", "shrink-batch", "checkpoint"] = Field(
        "drop",
        description="drop out; halve the batch and accumulate gradients; or recompute activations",
    )


class ClosePolicy(Block):
    """When the server stops waiting."""

    policy: Literal["wait-all", "deadline", "quorum", "async"] = Field(
        "wait-all", description="the rule that ends a round"
    )
    after: Duration | None = Field(
        None, description="deadline, and quorum if wanted: how long a round may take"
    )
    over: float | None = Field(
        None, ge=0, le=100, description="quorum: share of clients asked beyond the cohort"
    )
    buffer: int | None = Field(None, ge=1, description="async: updates that make the next model")

    @model_validator(mode="after")
    def _options(self) -> ClosePolicy:
        wanted = {"deadline": ("after",), "quorum": ("over",), "async": ("buffer",)}
        may = {"quorum": ("after",)}
        _needs(self, self.policy, wanted, ("after", "over", "buffer"), may)
        return self


class Compression(Block):
    """What is done to an update before it is sent."""

    kind: Literal["none", "fp16", "int8", "top-k"] = Field("none", description="the compression of an update")
    share: float | None = Field(None, gt=0, le=1, description="top-k: share of the coordinates that are kept")

    @model_validator(mode="after")
    def _options(self) -> Compression:
        _needs(self, self.kind, {"top-k": ("share",)}, ("share",))
        return self


class Rounds(Block):
    """The federated rounds."""

    count: int = Field(ge=1, le=10_000_000, description="how many rounds")
    cohort: int = Field(
        ge=1, le=10_000_000, description="clients chosen a round; async: clients at work at once"
    )
    select: Literal["random", "round-robin", "fastest-first", "memory-aware", "oort"] = Field(
        "random", description="how they are chosen among those online"
    )
    close: Annotated[ClosePolicy, BeforeValidator(_policy)] = ClosePolicy(policy="wait-all")
    aggregate: Literal[
        "fedavg", "uniform", "loss-weighted", "fedprox", "fedadam", "fedyogi", "trimmed-mean"
    ] = Field("fedavg", description="how updates become the next global model")
    compression: Annotated[Compression, BeforeValidator(_kind)] = Compression(kind="none")


class Server(Block):
    """The server's own link, shared by all transfers of a moment, and the machine beside it."""

    uplink: Rate = Field(125e6, description="what it can send")
    downlink: Rate = Field(125e6, description="what it can receive")
    device: str | None = Field(None, description="what trains the centralised baseline: a name or a file")


class CorpusSpec(Block):
    """The speech that is really trained on."""

    kind: Literal["espeak", "manifest", "common-voice"] = Field(
        "espeak",
        description="espeak: synthetic, nothing to download; manifest: a CSV; common-voice: a folder",
    )
    language: str | None = Field(
        None, pattern=r"^[A-Za-z0-9-]{1,35}$", description="espeak speaks it; else the language to pick"
    )
    speakers: int = Field(40, ge=4, le=10_000, description="espeak: voices, some held out for validation")
    minutes: float | None = Field(
        None, gt=0, le=60_000, description="espeak: of speech in all; else the most training speech taken"
    )
    path: str | None = Field(None, description="manifest: the CSV; common-voice: the folder")
    outside: bool = Field(False, description="recordings may lie outside its folder; only --set can say so")

    @model_validator(mode="after")
    def _options(self) -> CorpusSpec:
        wanted = {"manifest": ("path",), "common-voice": ("path",)}
        _needs(self, self.kind, wanted, ("path",))
        if self.kind == "espeak" and self.language not in (None, "it"):
            raise ValueError(f"espeak sentences are written for 'it' only, not for {self.language!r}")
        return self


class Byzantine(Block):
    """Clients that send garbage in place of an update."""

    share: float = Field(gt=0, le=1, description="chance of each client to be one of them, all the run")
    kind: Literal["nan", "inf", "huge", "truncated", "extended", "integers", "noise", "sign-flip"] = Field(
        description="noise and sign-flip pass for updates; the others are rejected"
    )
    scale: float | None = Field(
        None,
        gt=0,
        le=1e6,
        description="noise, sign-flip: its norm, in norms of the client's honest update (by default 1)",
    )

    @model_validator(mode="after")
    def _options(self) -> Byzantine:
        may = {"noise": ("scale",), "sign-flip": ("scale",)}
        _needs(self, self.kind, {}, ("scale",), may)
        return self


class Downstream(Block):
    """Fine-tuning for speech recognition with CTC, within the run."""

    every: int = Field(0, ge=0, description="rounds between fine-tunings; 0: after the last round only")
    minutes: float = Field(10.0, gt=0, description="transcribed training speech used at most")
    steps: int = Field(400, ge=1, description="optimizer steps")
    batch_size: int = Field(8, ge=1, description="utterances a step")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="peak of Adam's rate for the encoder")
    head_rate: float = Field(3e-3, gt=0, le=1, description="peak of Adam's rate for the layers on top")
    test_minutes: float = Field(5.0, gt=0, description="test speech recognised at most")
    longest_seconds: float = Field(15.0, gt=0, description="longer training utterances are left out")


class Learning(Block):
    """Real training of real models; leave the block out for a timing-only run."""

    model: Literal["wav2vec2-tiny", "wav2vec2-small", "wav2vec2-base", "wav2vec2-large"] = Field(
        "wav2vec2-tiny", description="the model that is really trained"
    )
    corpus: CorpusSpec = CorpusSpec()
    partition: Literal["by-speaker", "natural", "dirichlet-speakers", "dirichlet-quality"] = Field(
        "by-speaker", description="how training speech is divided among clients"
    )
    parts: int | None = Field(None, ge=1, description="number of parts; none: one a training speaker")
    dirichlet_alpha: float = Field(0.5, gt=0, description="concentration of the dirichlet partitions")
    low_quality: float = Field(0.0, ge=0, le=1, description="share of the parts that are recorded badly")
    clients_per_round: int = Field(
        8, ge=1, le=10_000, description="of those that complete, how many are trained for real"
    )
    evaluate_every: int = Field(2, ge=1, description="rounds between evaluations; the last always is")
    batch_size: int = Field(4, ge=1, le=512, description="utterances a step of real training")
    local_steps: int = Field(8, ge=1, le=100_000, description="optimizer steps a client takes in a round")
    local_epochs: float | None = Field(
        None, gt=0, le=1000, description="passes over the client's part, instead of steps"
    )
    learning_rate: float = Field(2e-3, gt=0, le=1, description="peak rate of the local optimizer")
    warmup_rounds: int = Field(3, ge=0, description="rounds over which the learning rate rises")
    decay: Literal["none", "linear"] = Field("none", description="of the learning rate after the warm-up")
    optimizer: Literal["adam", "adamw", "sgd"] = Field("adam", description="the local optimizer")
    optimizer_state: Literal["fresh", "averaged"] = Field(
        "fresh", description="fresh in every round, or averaged by the server with the weights"
    )
    precision: Literal["fp32", "mixed"] = Field("fp32", description="of the real training; mixed needs a GPU")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where real training happens; auto: on a GPU if there is one"
    )
    crop_seconds: float = Field(2.0, ge=0.5, le=60, description="longest piece of an utterance in a batch")
    feature_gradient_scale: float = Field(
        1.0, ge=0, le=1, description="factor on the gradient that reaches the convolutions"
    )
    proximal: float = Field(0.01, ge=0, description="fedprox: strength mu of the pull to the global model")
    server_rate: float = Field(3e-3, gt=0, description="fedadam, fedyogi: the server's learning rate")
    trim: float = Field(0.1, ge=0, lt=0.5, description="trimmed-mean: share left out at each end")
    largest_update: float = Field(
        10.0,
        gt=0,
        le=1e6,
        description="an update is rejected if its norm exceeds so many norms of the initial model",
    )
    byzantine: Byzantine | None = Field(None, description="clients that send garbage")
    staleness_exponent: float = Field(
        0.5, ge=0, description="async: an update s rounds late weighs (1 + s)**-exponent as much"
    )
    checkpoint_every: int = Field(
        10, ge=1, description="rounds between checkpoints that are kept; the newest two always are"
    )
    evaluation_seconds: float = Field(60.0, gt=0, description="held-out speech evaluated at most")
    downstream: Downstream | None = Field(None, description="fine-tune for recognition, for WER and CER")
    baseline: Literal["centralised", "local-only", "no-pretraining"] | None = Field(
        None,
        description="instead of the federation: its steps in one place on server.device; one client alone;"
        " or the downstream task on fresh weights",
    )
    alone: int | None = Field(None, ge=0, description="local-only: the client that is alone")

    @model_validator(mode="after")
    def _baseline(self) -> Learning:
        if self.baseline == "no-pretraining" and self.downstream is None:
            raise ValueError("'no-pretraining' needs the key 'downstream' beside it")
        if (self.alone is not None) != (self.baseline == "local-only"):
            raise ValueError("the key 'alone' belongs to baseline 'local-only', and that needs it")
        return self


class Scenario(Block):
    """A whole scenario file."""

    name: str = Field(pattern=_NAME, description="names the run directory; by default the file's name")
    description: str = Field(
        "", max_length=2000, description="the question this scenario asks, for the report"
    )
    seed: int = Field(0, ge=0, lt=2**63, description="every random draw follows from it")
    hardware: Hardware = Hardware()
    fleet: FleetSpec
    workload: Workload = Workload()
    training: Training = Training()
    rounds: Rounds
    server: Server = Server()
    learning: Learning | None = Field(None, description="leave out for a timing-only run")

    @model_validator(mode="after")
    def _baseline(self) -> Scenario:
        kind = None if self.learning is None else self.learning.baseline
        if kind == "centralised" and self.server.device is None:
            raise ValueError("the baseline 'centralised' needs the key server.device: the machine it runs on")
        if kind == "local-only" and self.learning is not None and self.learning.alone is not None:
            alone, last = self.learning.alone, self.fleet.clients - 1
            if alone > last:
                raise ValueError(f"learning.alone is {alone}; the fleet has clients 0 to {last}")
        return self
