"""What one client does in a round, and what one evaluation batch gives: the compute of a worker.

A :class:`Trainer` holds what stays: corpus, partition, model. Its results depend only on the
weights handed in, the run's seed, the client and the round; never on the process, on what it
computed before, or on torch's global generators. Everything runs on one thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fedsim import rng
from fedsim.learning import batches, corpus, model, objective, partition
from fedsim.learning.spec import LearnerSpec


@dataclass(frozen=True)
class TrainJob:
    """Train one client. ``occurrence`` counts earlier deliveries of the client in this round."""

    client: int
    round_index: int
    version: int
    occurrence: int = 0


@dataclass(frozen=True)
class EvaluateJob:
    """Evaluate batches ``first`` to ``last`` (excluded) of a split."""

    split: str
    first: int
    last: int
    version: int


@dataclass(frozen=True)
class Tally:
    """Sums over masked frames; two tallies add up.

    Attributes:
        loss: contrastive loss in nats, summed.
        correct, count: frames told right, and all.
        codes: float64[groups, entries], how often each codevector was the most probable.
    """

    loss: float
    correct: int
    count: int
    codes: NDArray[np.float64]

    @staticmethod
    def total(tallies: Iterable[Tally]) -> Tally:
        """The sum, in the order given."""
        loss, correct, count = 0.0, 0, 0
        codes: NDArray[np.float64] | float = 0.0
        for tally in tallies:
            loss, correct, count = loss + tally.loss, correct + tally.correct, count + tally.count
            codes = codes + tally.codes
        return Tally(loss, correct, count, np.asarray(codes, np.float64))

    def metrics(self, split: str) -> list[tuple[str, str, float]]:
        """Loss (nats a masked frame), contrastive accuracy and codebook perplexity."""
        if not self.count:
            return []
        shares = self.codes / self.codes.sum(axis=-1, keepdims=True)
        logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
        return [
            ("loss", split, self.loss / self.count),
            ("contrastive_accuracy", split, self.correct / self.count),
            ("codebook_perplexity", split, float(np.exp(-(shares * logs).sum(axis=-1)).sum())),
        ]


class Trainer:
    """Trains clients and evaluates, one at a time.

    Raises:
        CorpusError: if the corpus or its partition cannot be had.
        ScenarioError: if there is no such model preset.
    """

    def __init__(self, spec: LearnerSpec, seed: int) -> None:
        self.spec, self.seed = spec, seed
        self.corpus = corpus.load(spec.corpus)
        self.partition = partition.by_speaker(self.corpus, seed, spec.parts)
        self.model = model.build_model(spec.model, seed)
        self.masking = batches.Masking.of(spec, self.model.config)
        self.crop_samples = batches.grain(spec.crop_seconds)
        if spec.feature_gradient_scale != 1.0:
            self.model.wav2vec2.feature_extractor.register_forward_hook(self._scale_feature_gradient)

    def _scale_feature_gradient(self, _module: Any, _inputs: Any, output: torch.Tensor) -> None:
        if output.requires_grad:
            output.register_hook(lambda g: g * self.spec.feature_gradient_scale)  # type: ignore[no-untyped-call]

    def _optimizer(self, rate: float) -> torch.optim.Optimizer:
        parameters = list(self.model.parameters())
        if self.spec.optimizer == "sgd":
            return torch.optim.SGD(parameters, lr=rate)
        if self.spec.optimizer == "adamw":
            return torch.optim.AdamW(
                parameters,
                lr=rate,
                betas=(0.9, 0.98),
                eps=1e-6,
                weight_decay=self.spec.weight_decay,
                fused=True,
            )
        return torch.optim.Adam(parameters, lr=rate, betas=(0.9, 0.98), eps=1e-6, fused=True)

    def _objective(self, batch: batches.Batch, temperature: float) -> objective.Outcome:
        valid = batch.valid_samples
        return objective.evaluate_objective(
            self.model,
            torch.from_numpy(batch.waves),
            None if valid is None else torch.from_numpy(valid),
            torch.from_numpy(batch.masked),
            torch.from_numpy(batch.negatives),
            temperature,
        )

    def train(self, job: TrainJob, weights: NDArray[np.float32], out: NDArray[np.float32]) -> Tally:
        """Train from ``weights`` on the client's speech; the new weights go into ``out``."""
        name = (job.client, job.round_index, job.occurrence)
        draw = rng.generator(self.seed, "local", *name)
        temperature = self.spec.gumbel_temperature(job.round_index)
        tallies = []
        with model.one_thread(), model.seeded(rng.key(self.seed, "dropout", *name)):
            model.load(self.model, weights)
            self.model.train()
            optimizer = self._optimizer(self.spec.rate(job.round_index))
            for chosen in batches.order(self.partition.utterances(job.client), self.spec, draw):
                batch = batches.make(
                    self.corpus, chosen, self.crop_samples, self.model.config, self.masking, draw
                )
                if not batch.masked.any():
                    continue
                optimizer.zero_grad()
                outcome = self._objective(batch, temperature)
                outcome.loss(self.masking.diversity_weight).backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.spec.clip_norm)
                optimizer.step()
                tallies.append(_tally(outcome))
            model.flatten(self.model, out)
        return Tally.total(tallies)

    def evaluate(self, job: EvaluateJob, weights: NDArray[np.float32]) -> Tally:
        """Evaluate some batches of a split: no dropout, most probable codes, fixed masks and negatives."""
        tallies = []
        with model.one_thread(), torch.no_grad():
            model.load(self.model, weights)
            self.model.eval()
            for number, chosen in enumerate(batches.held_out(self.corpus, job.split, self.spec)):
                if not job.first <= number < job.last:
                    continue
                draw = rng.generator(0, "evaluation", job.split, number)
                batch = batches.make(
                    self.corpus, chosen, self.crop_samples, self.model.config, self.masking, draw, False
                )
                if batch.masked.any():
                    tallies.append(_tally(self._objective(batch, 1.0)))
        return Tally.total(tallies)


def _tally(outcome: objective.Outcome) -> Tally:
    codes = np.asarray(outcome.codes.cpu().numpy(), np.float64)
    return Tally(float(outcome.contrastive.detach()), outcome.correct, outcome.count, codes)
