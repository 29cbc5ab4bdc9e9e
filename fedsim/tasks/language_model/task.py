"""The language modelling task: its options, its network, its batches, its loss."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from fedsim import checks
from fedsim.errors import CorpusError
from fedsim.options import kind, one_of, option
from fedsim.tasks.base import Metric, Outcome, Size, Sums, Task
from fedsim.tasks.language_model.options import (
    EXAMPLES_AT_ONCE,
    PATTERN,
    TEXTS,
    PythonTopics,
    TextCorpus,
    TextFiles,
)

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from fedsim.tasks.language_model.data import TextData

    Batch = tuple[torch.Tensor, torch.Tensor]

WIDTH, LAYERS, HEADS = 128, 2, 4


@dataclass(frozen=True, kw_only=True)
class LanguageModel(Task):
    """Prediction of the next byte of a text by a small transformer decoder."""

    sizes: ClassVar[tuple[Size, ...]] = (Size("tokens", "bytes of text"),)
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("loss", "cross-entropy", "nats a token", chance=math.log(256)),
        Metric("perplexity", "perplexity of a byte", chance=256.0),
    )
    splits: ClassVar[tuple[str, ...]] = ("validation", "test")
    reads: ClassVar[tuple[str, ...]] = ("corpus",)

    width: int = option(WIDTH, "of the hidden states; a multiple of heads", ge=1, le=8192)
    layers: int = option(LAYERS, "blocks of the decoder", ge=1, le=96)
    heads: int = option(HEADS, "of attention", ge=1, le=128)
    context: int = option(64, "tokens of an example, from which the next is predicted", ge=1, le=8192)
    corpus: Annotated[TextCorpus, one_of(TextCorpus, TEXTS, "python-topics")] = option(
        PythonTopics(), "the text that is really trained on"
    )
    partition: Literal["natural", "iid"] = option(
        "natural", "natural: a client holds whole documents; iid: examples at random"
    )
    parts: int | None = option(None, "number of parts; none: one a document", ge=1)
    evaluation_tokens: int = option(16_384, "held-out tokens evaluated at most, of each split", ge=1)
    task: Literal["language_model"] = kind("language_model", "what is learned")

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width is {self.width}, which {self.heads} heads do not divide")

    @property
    def model_name(self) -> str:
        """``language_model``, and its shape where it is not the default one, for which there is a trace."""
        shape = (self.width, self.layers, self.heads)
        return self.name if shape == (WIDTH, LAYERS, HEADS) else "-".join((self.name, *map(str, shape)))

    @property
    def parts_wanted(self) -> int | None:
        return self.parts

    def build(self) -> torch.nn.Module:
        from fedsim.tasks.language_model.decoder import Decoder

        return Decoder(self.width, self.layers, self.heads)

    def data(self, seed: int) -> TextData:
        """The text, cut into examples and divided."""
        from fedsim.tasks.language_model.data import TextData

        return TextData(self, seed)

    @classmethod
    def files_in(cls, folder: Path, option: Mapping[str, Any]) -> list[Path]:
        """The texts that are taken."""
        from fedsim.tasks.language_model.reading import listed

        with suppress(CorpusError):  # whoever reads it says what is wrong
            return listed(folder, str(option.get("pattern", PATTERN)))
        return []

    def missing(self) -> str | None:
        path = self.corpus.path if isinstance(self.corpus, TextFiles) else None
        return None if path is None or Path(path).exists() else path

    def padded(self, sizes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Every example to the context."""
        import numpy as np

        return np.full(np.shape(sizes), float(self.context))

    def evaluation_batches(self) -> tuple[float, int]:
        examples = max(1, self.evaluation_tokens // self.context)
        return -(-examples // EXAMPLES_AT_ONCE) * len(self.splits), EXAMPLES_AT_ONCE

    def content(self) -> dict[str, Any]:
        from fedsim.tasks.language_model.reading import documents

        text = json.dumps(documents(self.corpus), sort_keys=True)
        said = {
            key: value for key, value in checks.dump(self.corpus).items() if key not in ("path", "outside")
        }
        return {"corpus": [said, hashlib.blake2b(text.encode("ascii"), digest_size=20).hexdigest()]}

    def batch(
        self, data: TextData, examples: NDArray[np.int64], draw: np.random.Generator, training: bool
    ) -> Batch:
        """What is read and what follows, int64[examples, context] each; -1 follows where the text ends."""
        import torch

        read, follows = data.tokens(examples)
        return torch.from_numpy(read), torch.from_numpy(follows)

    def fake_batch(self, batch: int, sizes: Mapping[str, int]) -> Batch:
        import torch

        shape = (batch, sizes["tokens"])
        return torch.empty(shape, dtype=torch.int64), torch.empty(shape, dtype=torch.int64)

    def loss(self, model: Any, batch: Batch, round_index: int | None) -> Outcome:
        """Cross-entropy, averaged over the tokens that are predicted."""
        from torch.nn import functional

        device = next(model.parameters()).device
        read, follows = batch[0].to(device), batch[1].to(device).flatten()
        loss = functional.cross_entropy(model(read).flatten(0, 1), follows, ignore_index=-1)

        def sums() -> Sums:
            count = int((follows >= 0).sum())
            return {"loss": float(loss.detach()) * count, "count": count}

        return Outcome(loss, sums)

    def summary(self, sums: Sums) -> dict[str, float]:
        """The loss, and the perplexity that it amounts to."""
        loss = sums["loss"] / sums["count"]
        return {"loss": loss, "perplexity": math.exp(loss) if not loss > 700.0 else math.inf}
