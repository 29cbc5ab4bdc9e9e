"""What a task is: one object that serves both planes, priced on fake tensors and trained for real.

A task is frozen options, which are keys of a scenario's ``learning`` block, and the methods below. The
learner asks for the model, the data, batches and their loss; the tracer runs the same model on a batch
without numbers. Neither knows what the model is.

Everything random comes from what is handed in: ``build`` draws weights from torch's generator, which the
caller has seeded; batches draw from the generator that they are given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from fedsim.errors import ScenarioError
from fedsim.options import Choice

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

Metrics = list[tuple[str, str, float]]  # metric, split, value
Sums = Mapping[str, Any]
"""What adds up over batches and clients, by name: floats, or float64 arrays."""


@dataclass(frozen=True)
class Metric:
    """What a number in ``convergence.parquet`` means.

    Attributes:
        name: in the column ``metric``.
        meaning: in a few words.
        unit: ``share`` for what is shown in percent; empty for a plain number.
        better: which way it should go.
        chance: what guessing gives, where that is known.
    """

    name: str
    meaning: str
    unit: str = ""
    better: Literal["lower", "higher"] = "lower"
    chance: float | None = None


@dataclass(frozen=True)
class Size:
    """An axis along which examples differ in size, such as the samples of a waveform.

    Attributes:
        name: of the axis, as scenarios and the command line call it.
        unit: in words.
        per_second: how many of them a second of speech has, if that can be said.
        usual: a size at which the model certainly runs; tracing measures at this and smaller ones.
    """

    name: str
    unit: str
    per_second: float | None = None
    usual: int = 128


@dataclass(frozen=True)
class Outcome:
    """What a batch came to.

    Attributes:
        loss: the scalar that is minimised; a tensor with a graph behind it.
        sums: ``loss`` (summed over what is counted), ``count``, and whatever else the metrics need; or a
            function that gives them, which is called only where tensors have numbers.
    """

    loss: Any
    sums: Sums | Callable[[], Sums]

    def added_up(self) -> Sums:
        """The sums."""
        return self.sums() if callable(self.sums) else self.sums


class Data(Protocol):
    """What is learned from: examples, numbered, and who holds which.

    Attributes:
        notes: sentences for a person to read: what there is, what was skipped.
        account: the same in figures, for the manifest; None if there is nothing to tell.
        parts: for each part the training examples in it, int64, sorted; every one in exactly one part.
    """

    notes: list[str]
    account: Mapping[str, Any] | None
    parts: Sequence[Ints]

    def held_out(self, split: str) -> Sequence[Ints]:
        """The examples of each evaluation batch of a held-out split, the same in every run."""
        ...


class Downstream(Protocol):
    """What fine-tuning for another task came to."""

    def metrics(self) -> Metrics:
        """Rows for ``convergence.parquet``."""
        ...

    def save(self, file: Path) -> None:
        """Keep the details beside a checkpoint."""
        ...


class FinetuningWork(Protocol):
    """What fine-tuning takes, for whoever prices it."""

    @property
    def steps(self) -> int:
        """Optimizer steps."""
        ...

    @property
    def batch_size(self) -> int:
        """Examples a step."""
        ...

    def times(self, rounds: int) -> int:
        """How often a model is fine-tuned in so many rounds."""
        ...

    def padded(self, sizes: Floats) -> Floats:
        """As :meth:`Task.padded`."""
        ...


class Task(Choice):
    """A model, how its batches and its loss are made, how it is evaluated, on which data.

    A subclass is a frozen dataclass whose fields are its options.

    Attributes:
        sizes: the axes along which an example has a size; none if all are alike.
        metrics: what :meth:`summary` gives, and what fine-tuning gives.
        splits: held-out splits that are evaluated.
        reads: options whose ``path`` names a file or a folder that is learned from.
    """

    point = "task"
    key = "task"
    sizes: ClassVar[tuple[Size, ...]] = ()
    metrics: ClassVar[tuple[Metric, ...]] = ()
    splits: ClassVar[tuple[str, ...]] = ("validation",)
    reads: ClassVar[tuple[str, ...]] = ()

    @property
    def model_name(self) -> str:
        """What its model is called: names checkpoints, the stream of its weights, and its layer trace."""
        return self.name

    @property
    def parts_wanted(self) -> int | None:
        """Into how many parts the data are divided; None if the data decide."""
        return None

    def build(self) -> torch.nn.Module:
        """A fresh model; its weights come from torch's generator, which the caller has seeded."""
        raise NotImplementedError

    def data(self, seed: int) -> Data:
        """The data, divided into parts by ``seed``.

        Raises:
            CorpusError: there is none that can be used, or too little to divide as asked.
        """
        raise NotImplementedError

    @classmethod
    def files_in(cls, folder: Path, option: Mapping[str, Any]) -> list[Path]:
        """The files by which a folder that an option of ``reads`` names is known.

        Args:
            folder: that ``path`` leads to.
            option: its keys as a file states them, not yet checked.
        """
        return []

    @classmethod
    def label(cls, path: Path) -> str:
        """Under which heading the manifest lists a file that is learned from."""
        return "corpus"

    def missing(self) -> str | None:
        """The path of data that are not there (yet); None if there are all, or nobody names any."""
        return None

    def look_through(self, seed: int) -> None:
        """Look through the data, if they are there, for what a run would refuse before its first round.

        Raises:
            CorpusError: as :meth:`data`.
        """
        if self.missing() is None:
            self.data(seed)

    def cached_bytes(self, corpus_s: float) -> float | None:
        """What the data take on disk once they are prepared; None if nobody can say.

        Args:
            corpus_s: seconds of speech in the corpus that the clock knows.
        """
        return None

    def padded(self, sizes: Floats) -> Floats:
        """To what batches are padded whose largest examples have these sizes; by default to those.

        At infinity it is the largest that there can be.
        """
        return sizes

    def evaluation_batches(self) -> tuple[float, int]:
        """Batches of an evaluation, of all splits together, and examples in each; by default one of 8."""
        return 1, 8

    @property
    def finetuning(self) -> FinetuningWork | None:
        """What fine-tuning for another task takes, if there is any."""
        return None

    def content(self) -> dict[str, Any]:
        """By key, the content of what options name by path: what decides a result, wherever it lies.

        Raises:
            InputError: it cannot be read.
        """
        return {}

    def batch(self, data: Any, examples: Ints, draw: np.random.Generator, training: bool) -> Any:
        """A batch of these examples; None if there is nothing in it to learn from."""
        raise NotImplementedError

    def learnable(self, data: Any, examples: Ints) -> Ints:
        """Those of the examples that there is something to learn from; by default all."""
        return examples

    def loss(self, model: Any, batch: Any, round_index: int | None) -> Outcome:
        """Run the model on a batch; ``round_index`` is None when it is evaluated."""
        raise NotImplementedError

    def summary(self, sums: Sums) -> dict[str, float]:
        """The metrics of sums over batches; by default the mean loss."""
        return {"loss": sums["loss"] / sums["count"]}

    def fake_batch(self, batch: int, sizes: Mapping[str, int]) -> Any:
        """A batch whose tensors have shapes and no numbers, made under a fake tensor mode."""
        raise NotImplementedError

    def traced_loss(self, model: Any, batch: Any) -> Any:
        """The loss of a fake batch as it is traced; by default the one that is trained."""
        return self.loss(model, batch, 0).loss

    def freeze_cnn(self, model: Any) -> None:
        """Stop training the convolutions at the model's input.

        Raises:
            ScenarioError: it has none.
        """
        said = f"is frozen-cnn, but the task {self.name!r} has no CNN encoder"
        raise ScenarioError(said, key="training.train")

    def finetunes(self, round_index: int, rounds: int) -> bool:
        """Whether the model is fine-tuned for another task after this round (counted from 0)."""
        return False

    def finetune(self, model: Any, data: Any, seed: int, device: str) -> Downstream:
        """Fine-tune a model, which is the caller's no more, and test it."""
        raise NotImplementedError
