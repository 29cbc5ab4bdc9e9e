"""What one client does in a round, and what one evaluation batch gives: the compute of a worker.

A :class:`Trainer` holds what stays: the task's data, who holds which of them, the model. Its results
depend only on the job and the vector handed in, the run's seed, the client and the round; never on the
process, on what it computed before, or on torch's global generators. Everything runs on one CPU thread,
or on the GPU (where results are reproducible only as far as its kernels are).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fedsim import rng
from fedsim.determinism import one_thread, seeded
from fedsim.errors import ScenarioError
from fedsim.learning import state, steps, vector, weights
from fedsim.learning.accumulator import Accumulator
from fedsim.learning.aggregate.base import Kept
from fedsim.learning.federation import Federation
from fedsim.learning.holdings import Holdings
from fedsim.learning.options import Learning
from fedsim.learning.partial import Ways
from fedsim.learning.parts import Part, Parts
from fedsim.learning.passes import passes
from fedsim.tasks.base import Downstream, Outcome, Task

NOTHING: Kept = {}
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class TrainJob:
    """Train one client.

    Attributes:
        occurrence: counts earlier deliveries of the client in this round.
        sent: what the server sent beside the model.
        kept: what the client keeps.
        way: in which it trains, from 0.
    """

    client: int
    round_index: int
    version: int
    occurrence: int = 0
    sent: Kept = field(default_factory=dict)
    kept: Kept = field(default_factory=dict)
    way: int = 0

    @property
    def stream(self) -> tuple[int, int, int]:
        """What names the random streams of this client in this round."""
        return self.client, self.round_index, self.occurrence

    def __str__(self) -> str:
        return f"training client {self.client} in round {self.round_index}"


@dataclass(frozen=True)
class EvaluateJob:
    """Evaluate batches ``first`` to ``last`` (excluded) of a split, with ``depth`` layers (None: all)."""

    split: str
    first: int
    last: int
    version: int
    depth: int | None = None

    def __str__(self) -> str:
        return f"evaluating the {self.split} split"


@dataclass(frozen=True)
class FinetuneJob:
    """Fine-tune for another task from ``depth`` layers (None: all) of a version of the global model."""

    version: int
    depth: int | None = None

    def __str__(self) -> str:
        return "fine-tuning"


@dataclass(frozen=True)
class Trained:
    """What a client reports of its training, beside the vector.

    Attributes:
        sums: over its batches.
        kept: what it keeps now.
        examples: how many different ones it trained on.
    """

    sums: Accumulator
    kept: Kept
    examples: int


Job = TrainJob | EvaluateJob | FinetuneJob
Result = Trained | Accumulator | Downstream


def device_of(learning: Learning) -> str:
    """``cpu`` or ``cuda``.

    Raises:
        ScenarioError: if a GPU is asked for and there is none.
    """
    if learning.device == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    if learning.device == "cuda":
        raise ScenarioError("is 'cuda', but torch finds no GPU; take 'auto' or 'cpu'", key="learning.device")
    return "cpu"


def fresh_model(task: Task, seed: int) -> Any:
    """A task's model with the initial weights of a run: a pure function of the model's name and the seed."""
    with seeded(rng.key(seed, "weights", task.model_name)), one_thread():
        return task.build()


def initial_model(federation: Federation, seed: int) -> Any:
    """The model that a federation begins with.

    Raises:
        ScenarioError: if the weights that it is to begin with are not its own.
    """
    model = fresh_model(federation.task, seed)
    if federation.learning.init is not None:
        weights.load(weights.read(Path(federation.learning.init)), model)
    return model


class Trainer:
    """Trains clients, evaluates and fine-tunes, one job at a time.

    Raises:
        CorpusError: if the data or their division cannot be had.
        ScenarioError: if there is no such model or device, or it has no such parts to train.
    """

    def __init__(self, federation: Federation, seed: int) -> None:
        self.federation, self.seed = federation, seed
        self.task, self.learning = federation.task, federation.learning
        self.device = device_of(self.learning)
        self.data = self.task.data(seed)
        self.holdings = Holdings(self.data.parts, federation, seed)
        self.ways = Ways(self.task, federation.ways, seed)
        self.model = self._fresh().to(self.device)
        self.parts = Parts(self.model, self.ways, self.learning)
        self.parameters = self.parts.parameters
        self._buffers = [buffer.clone() for buffer in self.model.buffers()]
        self._held_out = {split: self.data.held_out(split) for split in self.task.splits}

    def _fresh(self) -> Any:
        return self.ways.prepared(initial_model(self.federation, self.seed))

    def compute(self, job: Job, sent: NDArray[np.float32], out: NDArray[np.float32]) -> Result:
        """Do a job from the vector of its version; a trained vector goes into ``out``."""
        if isinstance(job, TrainJob):
            return self.train(job, sent, out)
        if isinstance(job, EvaluateJob):
            return self.evaluate(job, sent)
        model = self._fresh()
        vector.load(model, sent[: self.parameters])
        return self.task.finetune(self.ways.finished(model, job.depth), self.data, self.seed, self.device)

    def _forget(self) -> None:
        """Buffers that do not travel are as in the beginning, whatever this worker did before."""
        with torch.no_grad():
            for buffer, first in zip(self.model.buffers(), self._buffers, strict=True):
                buffer.copy_(first)

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.learning.precision != "mixed":
            return nullcontext()
        return torch.autocast(self.device, dtype=torch.float16 if self._needs_scaling else torch.bfloat16)

    @property
    def _needs_scaling(self) -> bool:
        """Whether half precision means float16, whose gradients underflow: a GPU without bfloat16."""
        mixed = self.learning.precision == "mixed"
        return mixed and self.device == "cuda" and not torch.cuda.is_bf16_supported()

    def train(self, job: TrainJob, sent: NDArray[np.float32], out: NDArray[np.float32]) -> Trained:
        """Train from ``sent`` on what the client holds, in its way.

        The way's part of the new vector, end to end, goes to the beginning of ``out``.
        """
        part = self.parts.ways[job.way]
        begin, end = part.whole.of(sent), out[: part.whole.size]
        draw = rng.generator(self.seed, "local", *job.stream)
        rate, model = self.federation.rate(job.round_index), self.model
        sums, seen = [], np.zeros(0, np.int64)
        dropout = seeded(rng.key(self.seed, "dropout", *job.stream), self.device)
        with one_thread(), dropout, ExitStack() as stack:
            model.train()
            self._forget()
            if len(self.ways) > 1:  # what does not train in this way runs as the federation has it
                vector.load(model, sent[: self.parameters])
            stack.enter_context(self.ways.applied(model, job.way))
            optimizer = state.make_optimizer(model, self.learning, rate)
            state.put(begin, model, optimizer, self.learning)
            client = steps.Client(
                vector.trained(model),
                optimizer,
                self.learning,
                rate,
                self._correction(job, part),
                torch.amp.GradScaler(self.device, enabled=self._needs_scaling),
                rng.generator(self.seed, "direction", *job.stream),
            )
            step = stack.enter_context(steps.of(self.federation.ways[job.way], client))
            for chosen in passes(self.holdings.of(job.client), self.learning, draw):
                batch = self.task.batch(self.data, chosen, draw, True)
                if batch is None:
                    continue
                sums.append(Accumulator(step(partial(self._loss, batch, job.round_index)).added_up()))
                seen = np.union1d(seen, self.task.learnable(self.data, chosen))
            state.take(model, optimizer, self.learning, end)
        return Trained(Accumulator.total(sums), self._keep(job, part, begin, end, len(sums), rate), seen.size)

    def _loss(self, batch: Any, round_index: int) -> Outcome:
        with self._autocast():
            return self.task.loss(self.model, batch, round_index)

    def _keep(self, job: TrainJob, part: Part, begin: Floats, end: Floats, steps: int, rate: float) -> Kept:
        """What a client keeps after training a part of the model, as long as all that travels."""
        rule, head = self.federation.aggregate, slice(0, part.parameters)
        if not rule.keeps:
            return NOTHING
        sent, kept = part.of_each(job.sent), part.of_each(job.kept)
        found = rule.keep(begin[head], end[head], steps, rate, sent, kept)
        if part.parameters == self.parameters:
            return found
        whole = {name: values.copy() for name, values in job.kept.items()}
        for name, values in found.items():
            part.model.put(whole.setdefault(name, np.zeros(self.parameters, np.float32)), values)
        return whole

    def _correction(self, job: TrainJob, part: Part) -> steps.Correct | None:
        """What the aggregation rule does to the gradient of each parameter before a step."""
        rule = self.federation.aggregate
        if not rule.corrects:
            return None
        parameters = vector.trained(self.model)
        anchors = [parameter.detach().clone() for parameter in parameters]
        sent, kept = self._by_tensor(job.sent, part), self._by_tensor(job.kept, part)

        def correct(n: int, gradient: torch.Tensor) -> None:
            rule.correct(gradient, parameters[n].detach(), anchors[n], sent[n], kept[n])

        return correct

    def _by_tensor(self, flat: Kept, part: Part) -> Sequence[Mapping[str, torch.Tensor]]:
        """Each parameter's part of flat vectors, of those that train."""
        flat, found, start = part.of_each(flat), [], 0
        for parameter in vector.trained(self.model):
            stop = start + parameter.numel()
            found.append(
                {
                    name: torch.tensor(values[start:stop], device=self.device).view(parameter.shape)
                    for name, values in flat.items()
                }
            )
            start = stop
        return found

    def evaluate(self, job: EvaluateJob, sent: NDArray[np.float32]) -> Accumulator:
        """Evaluate some batches of a split; what is random in them is the same in every run."""
        sums = []
        with one_thread(), torch.no_grad(), ExitStack() as stack:
            self._forget()
            vector.load(self.model, sent[: self.parameters])
            self.model.eval()
            stack.enter_context(self.ways.cut(self.model, job.depth))
            for number, chosen in enumerate(self._held_out[job.split]):
                if not job.first <= number < job.last:
                    continue
                draw = rng.generator(0, "evaluation", job.split, number)
                batch = self.task.batch(self.data, chosen, draw, False)
                if batch is not None:
                    sums.append(Accumulator(self.task.loss(self.model, batch, None).added_up()))
        return Accumulator.total(sums)
