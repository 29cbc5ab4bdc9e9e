"""What one client does in a round, and what one evaluation batch gives: the compute of a worker.

A :class:`Trainer` holds what stays: corpus, partition, model. Its results depend only on the
vector handed in, the run's seed, the client and the round; never on the process, on what it
computed before, or on torch's global generators. Everything runs on one CPU thread, or on the GPU
(where results are reproducible only as far as its kernels are).
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fedsim import rng
from fedsim.errors import ScenarioError
from fedsim.learning import batches, corpus, finetune, model, objective, partition, state
from fedsim.learning.accumulator import Accumulator
from fedsim.learning.spec import LearnerSpec


@dataclass(frozen=True)
class TrainJob:
    """Train one client. ``occurrence`` counts earlier deliveries of the client in this round."""

    client: int
    round_index: int
    version: int
    occurrence: int = 0

    @property
    def stream(self) -> tuple[int, int, int]:
        """What names the random streams of this client in this round."""
        return self.client, self.round_index, self.occurrence

    def __str__(self) -> str:
        return f"training client {self.client} in round {self.round_index}"


@dataclass(frozen=True)
class EvaluateJob:
    """Evaluate batches ``first`` to ``last`` (excluded) of a split."""

    split: str
    first: int
    last: int
    version: int

    def __str__(self) -> str:
        return f"evaluating the {self.split} split"


@dataclass(frozen=True)
class FinetuneJob:
    """Fine-tune for recognition from a version of the global model."""

    version: int

    def __str__(self) -> str:
        return "fine-tuning for speech recognition"


Job = TrainJob | EvaluateJob | FinetuneJob
Result = Accumulator | finetune.Recognition


def device_of(spec: LearnerSpec) -> str:
    """``cpu`` or ``cuda``.

    Raises:
        ScenarioError: if a GPU is asked for and there is none.
    """
    if spec.device == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    if spec.device == "cuda":
        raise ScenarioError("is 'cuda', but torch finds no GPU; take 'auto' or 'cpu'", key="learning.device")
    return "cpu"


class Trainer:
    """Trains clients, evaluates and fine-tunes, one job at a time.

    Raises:
        CorpusError: if the corpus or its partition cannot be had.
        ScenarioError: if there is no such model preset or device.
    """

    def __init__(self, spec: LearnerSpec, seed: int) -> None:
        self.spec, self.seed, self.device = spec, seed, device_of(spec)
        self.corpus = corpus.load(spec.corpus)
        self.partition = partition.divide(self.corpus, spec, seed)
        self.model = model.build_model(spec.model, seed).to(self.device)
        self.parameters = model.size(self.model)
        self.masking = batches.Masking.of(spec, self.model.config)
        self.crop_samples = batches.grain(spec.crop_seconds)
        self._held_out = {split: batches.held_out(self.corpus, split, spec) for split in spec.splits}
        if spec.feature_gradient_scale != 1.0:
            self.model.wav2vec2.feature_extractor.register_forward_hook(self._scale_feature_gradient)

    def compute(self, job: Job, vector: NDArray[np.float32], out: NDArray[np.float32]) -> Result:
        """Do a job from the vector of its version; a trained vector goes into ``out``."""
        if isinstance(job, TrainJob):
            return self.train(job, vector, out)
        if isinstance(job, EvaluateJob):
            return self.evaluate(job, vector)
        assert self.spec.downstream is not None
        weights = vector[: self.parameters]
        return finetune.recognise(
            weights, self.spec.model, self.spec.downstream, self.corpus, self.seed, self.device
        )

    def _scale_feature_gradient(self, _module: Any, _inputs: Any, output: torch.Tensor) -> None:
        if output.requires_grad:
            output.register_hook(lambda g: g * self.spec.feature_gradient_scale)  # type: ignore[no-untyped-call]

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.spec.precision != "mixed":
            return nullcontext()
        return torch.autocast(self.device, dtype=torch.float16 if self._needs_scaling else torch.bfloat16)

    @property
    def _needs_scaling(self) -> bool:
        """Whether half precision means float16, whose gradients underflow: a GPU without bfloat16."""
        return self.spec.precision == "mixed" and self.device == "cuda" and not torch.cuda.is_bf16_supported()

    def _objective(self, batch: batches.Batch, temperature: float) -> objective.Outcome:
        def put(array: NDArray[Any]) -> torch.Tensor:
            return model.tensor(array, self.device)

        valid = None if batch.valid_samples is None else put(batch.valid_samples)
        return objective.evaluate_objective(
            self.model, put(batch.waves), valid, put(batch.masked), put(batch.negatives), temperature
        )

    def train(self, job: TrainJob, vector: NDArray[np.float32], out: NDArray[np.float32]) -> Accumulator:
        """Train from ``vector`` on the client's speech; the new one goes into ``out``."""
        name = job.stream
        draw = rng.generator(self.seed, "local", *name)
        temperature = self.spec.gumbel_temperature(job.round_index)
        accumulators = []
        with model.one_thread(), model.seeded(rng.key(self.seed, "dropout", *name), self.device):
            self.model.train()
            optimizer = state.make_optimizer(self.model, self.spec, self.spec.rate(job.round_index))
            state.put(vector, self.model, optimizer, self.spec)
            scaler = torch.amp.GradScaler(self.device, enabled=self._needs_scaling)
            anchor = [p.detach().clone() for p in self.model.parameters()] if self.spec.pull else None
            for chosen in batches.order(self.partition.utterances(job.client), self.spec, draw):
                batch = self._batch(chosen, draw, training=True)
                if not batch.masked.any():
                    continue
                optimizer.zero_grad()
                with self._autocast():
                    outcome = self._objective(batch, temperature)
                    loss = outcome.loss(self.masking.diversity_weight)
                scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
                scaler.unscale_(optimizer)
                self._pull_back(anchor)
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.spec.clip_norm)
                scaler.step(optimizer)
                scaler.update()
                accumulators.append(_accumulate(outcome))
            state.take(self.model, optimizer, self.spec, out)
        return Accumulator.total(accumulators)

    def _pull_back(self, anchor: list[torch.Tensor] | None) -> None:
        """FedProx's proximal term mu/2 |w - w0|^2, as its gradient (Li et al., MLSys 2020)."""
        if anchor is None:
            return
        for parameter, origin in zip(self.model.parameters(), anchor, strict=True):
            if parameter.grad is not None:
                parameter.grad.add_(parameter.detach() - origin, alpha=self.spec.pull)

    def _batch(
        self, chosen: NDArray[np.int64], draw: np.random.Generator, *, training: bool
    ) -> batches.Batch:
        return batches.make(
            self.corpus,
            chosen,
            self.crop_samples,
            self.model.config,
            self.masking,
            draw,
            self.partition.quality if training else None,
            random_crop=training,
        )

    def evaluate(self, job: EvaluateJob, vector: NDArray[np.float32]) -> Accumulator:
        """Evaluate some batches of a split: no dropout, most probable codes, fixed masks and negatives."""
        accumulators = []
        with model.one_thread(), torch.no_grad():
            model.load(self.model, vector[: self.parameters])
            self.model.eval()
            for number, chosen in enumerate(self._held_out[job.split]):
                if not job.first <= number < job.last:
                    continue
                draw = rng.generator(0, "evaluation", job.split, number)
                batch = self._batch(chosen, draw, training=False)
                if batch.masked.any():
                    accumulators.append(_accumulate(self._objective(batch, 1.0)))
        return Accumulator.total(accumulators)


def _accumulate(outcome: objective.Outcome) -> Accumulator:
    codes = np.asarray(outcome.codes.cpu().numpy(), np.float64)
    return Accumulator(float(outcome.contrastive.detach()), outcome.correct, outcome.count, codes)
