"""What is to be learned, from which speech, and how: frozen data, checked once.

Purpose: the one place that names every choice of the learning plane and its default. Assumes
nothing about who decides on cohorts and times; that is the engine's business.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedsim.errors import InputError, ScenarioError

CORPORA = ("espeak", "manifest", "common-voice")
DEFAULT_MINUTES = 30.0
PARTITIONS = ("by-speaker", "natural", "dirichlet-speakers", "dirichlet-quality")
AGGREGATES = ("fedavg", "uniform", "loss-weighted", "fedprox", "fedadam", "fedyogi", "trimmed-mean")
COMPRESSIONS = ("none", "fp16", "int8", "top-k")
BYZANTINE_KINDS = ("nan", "inf", "huge", "truncated", "extended", "integers", "noise", "sign-flip")
OPTIMIZERS = ("adam", "adamw", "sgd")
OPTIMIZER_STATES = ("fresh", "averaged")
_CHOICES = {
    "partition": PARTITIONS,
    "aggregate": AGGREGATES,
    "compression": COMPRESSIONS,
    "optimizer": OPTIMIZERS,
    "optimizer_state": OPTIMIZER_STATES,
    "decay": ("none", "linear"),
    "precision": ("fp32", "mixed"),
    "device": ("auto", "cpu", "cuda"),
}
_COUNTS = (
    "clients", "rounds", "parts", "clients_per_round", "evaluate_every", "batch_size", "local_steps",
    "mask_span_frames", "negatives", "checkpoint_every",
)  # fmt: skip
_POSITIVE = (
    "learning_rate", "clip_norm", "crop_seconds", "evaluation_seconds", "gumbel_min", "gumbel_decay",
    "compression_share", "dirichlet_alpha", "server_rate", "local_epochs", "mask_probability",
    "largest_update",
)  # fmt: skip
_NOT_NEGATIVE = (
    "warmup_rounds", "max_staleness", "weight_decay", "feature_gradient_scale", "proximal",
    "staleness_exponent", "diversity_weight", "only_part", "trim",
)  # fmt: skip
_SHARES = {
    "low_quality": 1.0,
    "compression_share": 1.0,
    "gumbel_decay": 1.0,
    "mask_probability": 1.0,
}


def _need(holds: bool, message: str, key: str, error: type[InputError] = ScenarioError) -> None:
    if not holds:
        raise error(message, key=f"learning.{key}")


def _one_of(value: str, accepted: tuple[str, ...], key: str) -> None:
    _need(value in accepted, f"is {value!r}; one of {', '.join(accepted)} is needed", key)


@dataclass(frozen=True)
class CorpusSpec:
    """A speech corpus.

    Attributes:
        kind: ``espeak`` (embedded synthetic speech), ``manifest`` (a CSV file) or
            ``common-voice`` (a folder).
        language: of the synthetic speech (``it``, also if None); for a manifest with a language
            column and for a folder of several languages, the one to use.
        speakers: number of synthetic speakers, at least 3.
        minutes: of synthetic speech over all speakers and splits (None: 30); of other kinds the
            most training speech that is taken (None: all), and a tenth of it for each held-out
            split.
        seed: of the corpus itself; the run's seed does not change the corpus.
        path: the manifest or the Common Voice folder.
        outside: whether a manifest's paths may lie outside its folder.
    """

    kind: str = "espeak"
    language: str | None = None
    speakers: int = 40
    minutes: float | None = None
    seed: int = 0
    path: str | None = None
    outside: bool = False

    def __post_init__(self) -> None:
        _one_of(self.kind, CORPORA, "corpus.kind")
        minutes = DEFAULT_MINUTES if self.minutes is None else self.minutes
        _need(0 < minutes <= 60_000, f"is {minutes:g}; 0 to 60000 are possible", "corpus.minutes")
        if self.kind != "espeak":
            _need(bool(self.path), f"is missing; a corpus of kind {self.kind} needs it", "corpus.path")
            return
        _need(self.path is None, "is for manifest and common-voice corpora", "corpus.path")
        _one_of(self.language or "it", ("it",), "corpus.language")
        _need(3 <= self.speakers <= 10_000, f"is {self.speakers}; 3 to 10000 are possible", "corpus.speakers")
        _need(
            60.0 * minutes / self.speakers >= 1.0,
            f"is {minutes:g} for {self.speakers} speakers; each needs at least a second",
            "corpus.minutes",
        )


@dataclass(frozen=True)
class FinetuneSpec:
    """Fine-tuning for speech recognition with CTC, and its test.

    Attributes:
        every: rounds between fine-tunings in a run; 0: after the last round only.
        minutes: of transcribed training speech that are used at most.
        steps: optimizer steps.
        batch_size: utterances a step.
        learning_rate: peak of Adam's rate for the pretrained encoder; a tenth of the steps warm up,
            the second half decays.
        head_rate: the same for the linear layers on top.
        head_size: width of the two hidden of the three linear layers on top.
        mask_probability: share of frames masked while training, in the preset's spans.
        test_minutes: of test speech that are recognised at most.
        longest_seconds: longer training utterances are left out.
    """

    every: int = 0
    minutes: float = 10.0
    steps: int = 400
    batch_size: int = 8
    learning_rate: float = 1e-3
    head_rate: float = 3e-3
    head_size: int = 128
    mask_probability: float = 0.1
    test_minutes: float = 5.0
    longest_seconds: float = 15.0

    def __post_init__(self) -> None:
        for name in ("minutes", "learning_rate", "head_rate", "test_minutes", "longest_seconds"):
            value = getattr(self, name)
            _need(0 < value < np.inf, f"is {value:g}; a positive number is needed", f"downstream.{name}")
        for name in ("steps", "batch_size", "head_size"):
            value = getattr(self, name)
            _need(value >= 1, f"is {value}; at least 1 is needed", f"downstream.{name}")
        _need(self.every >= 0, f"is {self.every}; it cannot be negative", "downstream.every")
        _need(
            0 <= self.mask_probability < 1,
            f"is {self.mask_probability:g}; it lies in [0, 1)",
            "downstream.mask_probability",
        )


@dataclass(frozen=True)
class ByzantineSpec:
    """Clients that send garbage; see :mod:`fedsim.learning.byzantine`.

    Attributes:
        share: chance of each client to be one of them, for the whole run.
        kind: what they send: ``nan`` and ``inf`` (every weight), ``huge`` (weights of 1e30),
            ``truncated``, ``extended`` and ``integers`` (the wrong shape or type), ``noise`` (normal,
            of the norm of their honest update) or ``sign-flip`` (that update backwards).
        scale: factor on ``noise`` and ``sign-flip``.
    """

    share: float
    kind: str
    scale: float = 1.0

    def __post_init__(self) -> None:
        _one_of(self.kind, BYZANTINE_KINDS, "byzantine.kind")
        _need(0 < self.share <= 1, f"is {self.share:g}; it lies between 0 and 1", "byzantine.share")
        _need(0 < self.scale <= 1e6, f"is {self.scale:g}; it lies between 0 and 1e6", "byzantine.scale")


@dataclass(frozen=True)
class LearnerSpec:
    """Everything that decides the learning plane but the run's seed.

    Attributes:
        clients: number of clients of the fleet, among whom the corpus is divided.
        rounds: number of rounds that will be trained (the last is always evaluated).
        model: preset name, a file of ``fedsim/learning/configs``.
        corpus: the speech.
        partition: how training speech is divided into parts; see :mod:`fedsim.learning.partition`.
        parts: number of parts; None: one a training speaker. Client c holds part ``part_of(c)``.
        dirichlet_alpha: concentration of the Dirichlet partitions.
        low_quality: share of the parts that are recorded badly.
        pooled: all parts are put together into one; for the centralised baseline.
        only_part: every client holds this part; for the local-only baseline.
        clients_per_round: how many of those that deliver an update are trained for real.
        evaluate_every: rounds between evaluations on the held-out speakers.
        batch_size: utterances a step.
        local_steps: optimizer steps a client takes in a round; used if ``local_epochs`` is None.
        local_epochs: passes over the client's part in a round; takes precedence over steps.
        learning_rate: peak rate of the local optimizer.
        warmup_rounds: rounds over which the rate climbs linearly to its peak.
        decay: ``none``, or ``linear`` (from the peak after warm-up to a tenth in the last round).
        optimizer: ``adam`` (betas 0.9, 0.98), ``adamw`` or ``sgd``.
        optimizer_state: what a client starts a round with: ``fresh`` nothing, ``averaged`` the
            moments of Adam averaged by the server along with the weights.
        weight_decay: of ``adamw``.
        clip_norm: largest norm of the gradient.
        feature_gradient_scale: factor on the gradient that reaches the convolutions.
        precision: ``fp32``, or ``mixed`` (half-precision products, where the device has them).
        device: ``auto`` (a GPU if there is one), ``cpu`` or ``cuda``.
        aggregate: rule by which updates become the next global model.
        proximal: strength mu of ``fedprox``.
        server_rate: learning rate of ``fedadam`` and ``fedyogi``.
        trim: share that ``trimmed-mean`` leaves out at each end.
        staleness_exponent: an update s rounds late weighs (1 + s)**-exponent as much.
        compression: what is done to an update before it is sent; see ``aggregate.compress``.
        compression_share: of the coordinates that ``top-k`` keeps.
        largest_update: an update of a larger norm than this times that of the initial model is
            rejected. Real training stays far below (see the guide), garbage may not.
        byzantine: clients that send garbage, or None.
        crop_seconds: longest piece of an utterance in a batch; a random one if it is longer.
        mask_probability, mask_span_frames, negatives, diversity_weight: of the objective; None:
            the model preset's.
        gumbel_max, gumbel_min, gumbel_decay: temperature max(min, max * decay**round).
        evaluation_seconds: seconds of speech of each held-out split that are evaluated at most.
        splits: held-out splits that are evaluated; ``validation`` and ``test``.
        max_staleness: oldest global model, in rounds, from which an update is accepted; 0 when
            rounds are synchronous. That many older models are kept.
        checkpoint_every: rounds between checkpoints that are kept; the newest two always are.
        downstream: fine-tuning for recognition within the run, or None.
    """

    clients: int = 40
    rounds: int = 20
    model: str = "wav2vec2-tiny"
    corpus: CorpusSpec = field(default_factory=CorpusSpec)
    partition: str = "by-speaker"
    parts: int | None = None
    dirichlet_alpha: float = 0.5
    low_quality: float = 0.0
    pooled: bool = False
    only_part: int | None = None
    clients_per_round: int = 8
    evaluate_every: int = 2
    batch_size: int = 4
    local_steps: int = 8
    local_epochs: float | None = None
    learning_rate: float = 2e-3
    warmup_rounds: int = 3
    decay: str = "none"
    optimizer: str = "adam"
    optimizer_state: str = "fresh"
    weight_decay: float = 0.01
    clip_norm: float = 2.0
    feature_gradient_scale: float = 1.0
    precision: str = "fp32"
    device: str = "auto"
    aggregate: str = "fedavg"
    proximal: float = 0.01
    server_rate: float = 3e-3
    trim: float = 0.1
    staleness_exponent: float = 0.5
    compression: str = "none"
    compression_share: float = 0.01
    largest_update: float = 10.0
    byzantine: ByzantineSpec | None = None
    crop_seconds: float = 2.0
    mask_probability: float | None = None
    mask_span_frames: int | None = None
    negatives: int | None = None
    diversity_weight: float | None = None
    gumbel_max: float = 2.0
    gumbel_min: float = 0.5
    gumbel_decay: float = 0.95
    evaluation_seconds: float = 60.0
    splits: tuple[str, ...] = ("validation",)
    max_staleness: int = 0
    checkpoint_every: int = 10
    downstream: FinetuneSpec | None = None

    def __post_init__(self) -> None:
        for name, accepted in _CHOICES.items():
            _one_of(getattr(self, name), accepted, name)
        for split in self.splits:
            _one_of(split, ("validation", "test"), "splits")
        for name in _COUNTS:
            value = getattr(self, name)
            _need(value is None or value >= 1, f"is {value}; at least 1 is needed", name)
        for name in _POSITIVE:
            value = getattr(self, name)
            _need(value is None or 0 < value < np.inf, f"is {value}; a positive number is needed", name)
        for name in _NOT_NEGATIVE:
            value = getattr(self, name)
            _need(value is None or 0 <= value < np.inf, f"is {value}; it cannot be negative", name)
        for name, largest in _SHARES.items():
            value = getattr(self, name)
            holds = value is None or 0 <= value <= largest
            _need(holds, f"is {value}; it lies between 0 and {largest:g}", name)
        _need(self.crop_seconds >= 0.5, f"is {self.crop_seconds:g}; at least 0.5 s is needed", "crop_seconds")
        _need(self.gumbel_max >= self.gumbel_min, "is below gumbel_min", "gumbel_max")
        _need(self.trim < 0.5, f"is {self.trim:g}; it must be below 0.5", "trim")
        _need(
            self.optimizer_state == "fresh" or self.optimizer != "sgd",
            "is 'averaged', but sgd has no state",
            "optimizer_state",
        )

    @property
    def pull(self) -> float:
        """The strength of the proximal term; 0 unless the rule is ``fedprox``."""
        return self.proximal if self.aggregate == "fedprox" else 0.0

    def rate(self, round_index: int) -> float:
        """The learning rate of a round: linear warm-up, then constant or linear decay."""
        climb = min(1.0, (round_index + 1) / (self.warmup_rounds + 1))
        if self.decay == "none" or round_index < self.warmup_rounds:
            return self.learning_rate * climb
        left = max(1, self.rounds - 1 - self.warmup_rounds)
        return self.learning_rate * max(0.1, 1.0 - 0.9 * (round_index - self.warmup_rounds) / left)

    def gumbel_temperature(self, round_index: int) -> float:
        """The temperature of the quantizer's Gumbel softmax in a round."""
        return max(self.gumbel_min, self.gumbel_max * self.gumbel_decay**round_index)

    def finetunes(self, round_index: int) -> bool:
        """Whether the model is fine-tuned for recognition after this round (counted from 0)."""
        if self.downstream is None:
            return False
        every = self.downstream.every
        return round_index == self.rounds - 1 or (every > 0 and (round_index + 1) % every == 0)

    def evaluates(self, round_index: int) -> bool:
        """Whether the held-out speakers are evaluated after this round (counted from 0)."""
        return (round_index + 1) % self.evaluate_every == 0 or round_index == self.rounds - 1


@dataclass(frozen=True)
class RoundLearning:
    """What one round did to the model, client by client in the order in which they were given.

    Attributes:
        loss: float64[n], mean contrastive training loss in nats; nan: not trained for real.
        weight: float64[n], share in the aggregate; sums to 1 over those trained and accepted,
            0 for the others. All 0 if none was accepted: the model stays as it was.
        accepted: bool[n], False for an update that was rejected (non-finite, malformed, too large,
            too stale); a client that was not trained for real counts as accepted, unless it is one
            that sends what is always rejected.
        metrics: (metric, split, value) triples; ``train`` in every round with a trained client.
    """

    loss: NDArray[np.float64]
    weight: NDArray[np.float64]
    accepted: NDArray[np.bool_]
    metrics: list[tuple[str, str, float]]
