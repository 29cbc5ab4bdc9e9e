"""Images by class: which images, who holds which, and a small network of convolutions that tells them apart.

The network: blocks of a 3 x 3 convolution, ReLU and 2 x 2 max-pooling, each with twice the channels of the
one before it; then a hidden layer and one output a class. Division by a Dirichlet distribution over labels
is what studies of federated learning on images take for clients that differ.

Held-out images are the same in every run: the same share of every class, drawn by the seed of ``images``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from fedsim import checks, rng
from fedsim.errors import CorpusError
from fedsim.options import kind, one_of, option
from fedsim.tasks.base import Metric, Outcome, Sums, Task
from fedsim.tasks.images import SOURCES, Digits, Folder, Images, Pictures, is_image, pictures
from fedsim.words import count, plural

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

EVALUATION_BATCH = 64
HELD_OUT = ("validation", "test")
CONVOLUTIONS = 2


@dataclass(frozen=True, kw_only=True)
class Classification(Task):
    """Classification of images by a small network of convolutions."""

    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("loss", "cross-entropy", "nats"),
        Metric("accuracy", "accuracy", "share", better="higher"),
    )
    splits: ClassVar[tuple[str, ...]] = HELD_OUT
    reads: ClassVar[tuple[str, ...]] = ("images",)

    images: Annotated[Images, one_of(Images, SOURCES, "digits")] = option(Digits(), "what is learned from")
    partition: Literal["iid", "dirichlet"] = option(
        "iid", "how training images are divided: all parts alike, or by Dirichlet shares of every class"
    )
    parts: int = option(20, "number of parts; client c holds one of them", ge=1, le=1_000_000)
    dirichlet_alpha: float = option(0.5, "concentration of the dirichlet partition", gt=0)
    channels: int = option(16, "of the first convolution; the second has twice as many", ge=1, le=4096)
    hidden: int = option(64, "units of the hidden layer", ge=1, le=65_536)
    task: Literal["classification"] = kind("classification", "what is learned")

    @property
    def model_name(self) -> str:
        """``digits-cnn``, with the figures of the network where they are not the defaults."""
        mine = (self.channels, self.hidden)
        usual = mine == (Classification.channels, Classification.hidden)
        return f"{self.images.name}-cnn" + ("" if usual else "-{}-{}".format(*mine))

    @property
    def parts_wanted(self) -> int:
        return self.parts

    def build(self) -> torch.nn.Module:
        from torch import nn

        blocks: list[nn.Module] = []
        channels, side = self.images.planes, self.images.side
        for block in range(CONVOLUTIONS):
            wider = self.channels * 2**block
            blocks += [nn.Conv2d(channels, wider, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
            channels, side = wider, side // 2
        return nn.Sequential(
            *blocks,
            nn.Flatten(),
            nn.Linear(channels * side * side, self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, len(self.images.classes())),
        )

    def data(self, seed: int) -> ImageData:
        return ImageData(self, seed)

    @classmethod
    def files_in(cls, folder: Path, option: Mapping[str, Any]) -> list[Path]:
        """The images of all classes."""
        return [one for one in sorted(folder.glob("*/*")) if is_image(one)]

    @classmethod
    def label(cls, path: Path) -> str:
        """By class."""
        return f"images/{path.parent.name}"

    def content(self) -> dict[str, Any]:
        if not isinstance(self.images, Folder):
            return {}
        anywhere = checks.dump(self.images) | {"path": None}
        return {"images": [anywhere, pictures(self.images).sha256]}

    def batch(
        self, data: ImageData, examples: Ints, draw: np.random.Generator, training: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """float32[batch, planes, side, side] from 0 to 1, and int64[batch]."""
        import numpy as np

        from fedsim.determinism import tensor

        pixels = data.pictures.pixels[examples].astype(np.float32) / np.float32(data.pictures.white)
        return tensor(pixels), tensor(data.pictures.labels[examples])

    def fake_batch(self, batch: int, sizes: Mapping[str, int]) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        side = self.images.side
        return torch.empty(batch, self.images.planes, side, side), torch.empty(batch, dtype=torch.int64)

    def loss(self, model: Any, batch: tuple[torch.Tensor, torch.Tensor], round_index: int | None) -> Outcome:
        from torch.nn import functional

        device = next(model.parameters()).device
        pixels, labels = (tensor.to(device) for tensor in batch)
        scores = model(pixels)
        loss = functional.cross_entropy(scores, labels)
        return Outcome(loss, lambda: _sums(loss, scores, labels))

    def summary(self, sums: Sums) -> dict[str, float]:
        """Cross-entropy in nats, and the share that was told right."""
        return {"loss": sums["loss"] / sums["count"], "accuracy": sums["right"] / sums["count"]}


def _sums(loss: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    right = int((scores.argmax(dim=1) == labels).sum())
    return {"loss": float(loss.detach()) * len(labels), "count": len(labels), "right": right}


class ImageData:
    """Images, those held out, and who holds which of the others.

    Args:
        task: which images, and how they are divided.
        seed: of the run.

    Attributes:
        pictures: all of them.

    Raises:
        CorpusError: they cannot be had, or are too few to hold some out or to be divided as asked.
    """

    def __init__(self, task: Classification, seed: int) -> None:
        import numpy as np

        from fedsim.tasks.partition import alike, dirichlet

        self.pictures = pictures(task.images)
        held, train = _split(self.pictures, task.images)
        self._held_out = held
        total = sum(len(members) for _, members in train)
        if task.parts > total:
            raise CorpusError(
                f"there are {plural(total, 'training image')}, too few for {count(task.parts)} parts",
                key="learning.parts",
            )
        if task.partition == "iid":
            groups = alike(np.sort(np.concatenate([members for _, members in train])), task.parts, seed)
        else:
            groups = dirichlet(train, task.parts, task.dirichlet_alpha, seed)
        self.parts: Sequence[Ints] = [np.sort(part) for part in groups]
        tested = " and ".join(f"{plural(len(held[split]), 'image')} for {split}" for split in HELD_OUT)
        self.notes: list[str] = [
            f"{plural(total, 'image')} of {count(len(train))} classes to train on, {tested}"
        ]
        self.account: Mapping[str, Any] | None = {
            "images": len(self.pictures.labels),
            "classes": len(train),
            "sha256": self.pictures.sha256,
        }

    def held_out(self, split: str) -> Sequence[Ints]:
        """The images of each evaluation batch, the same in every run."""
        held = self._held_out[split]
        return [held[at : at + EVALUATION_BATCH] for at in range(0, len(held), EVALUATION_BATCH)]


def _split(pictures: Pictures, images: Images) -> tuple[dict[str, Ints], list[tuple[str, Ints]]]:
    """What is held out for each split, sorted, and the training images of each class.

    Of every class ``round(held_out x images)`` are held out for each split, at least one.

    Raises:
        CorpusError: a class is too small for that.
    """
    import numpy as np

    held: dict[str, list[Ints]] = {split: [] for split in HELD_OUT}
    train = []
    for number, name in enumerate(pictures.names):
        draw = rng.generator(images.seed, "held-out", name)
        members = draw.permutation(np.flatnonzero(pictures.labels == number))
        each = max(1, round(images.held_out * len(members)))
        if (left := len(members) - each * len(HELD_OUT)) < 1:
            raise CorpusError(
                f"the class {name!r} has {plural(len(members), 'image')}: with {each} held out for each of"
                f" {' and '.join(HELD_OUT)}, none is left to train on",
                key="learning.images",
            )
        for split, chosen in zip(HELD_OUT, np.split(members[left:], len(HELD_OUT)), strict=True):
            held[split].append(chosen)
        train.append((name, np.sort(members[:left])))
    return {split: np.sort(np.concatenate(chosen)) for split, chosen in held.items()}, train
