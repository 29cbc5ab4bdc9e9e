"""How a model trains: which of it runs, what trains, and what people do to make that fit.

One frozen value that can be compared and hashed, and that pricing, advice, feasibility and the learner
read alike. What *runs* is ``depth``, what *trains* is ``train``, and what trains is what *travels*.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from fedsim.errors import InputError
from fedsim.hardware.device import TRAINING_PRECISIONS
from fedsim.pricing.trained import EVERYTHING, FrozenCNN, Trained, parse_trained

OptimizerName = Literal["sgd", "momentum", "adam", "adamw", "adafactor", "adam8bit"]
OPTIMIZERS: tuple[str, ...] = get_args(OptimizerName)

Attention = Literal["eager", "sdpa"]
"""eager stores the n x n maps of attention; sdpa is torch's fused kernel where the backend has one."""
ATTENTIONS: tuple[str, ...] = get_args(Attention)

CHECKPOINTINGS = ("none", "transformer", "cnn", "both")
"""Which stack recomputes its forward pass during the backward one, block by block."""


class TechniqueError(InputError):
    """A training technique that does not exist."""


@dataclass(frozen=True)
class Technique:
    """How a client trains: names are validated when the value is made.

    ``accumulate`` is the number of equal micro-batches that make one optimizer step: the batch
    given to a :class:`~fedsim.pricing.pricer.Pricer` is the whole one, and each micro-batch holds
    ``ceil(batch / accumulate)`` of it.

    Attributes:
        train: what trains; the backward pass ends at the first layer that does.
        depth: how many of the model's layers run, from the first on; the head follows the last of them.
            None: all.
        release_gradients: the optimizer steps inside the backward pass, and every gradient is let go as
            soon as it is used (what PyTorch does in ``register_post_accumulate_grad_hook``).
        forward_only: no backward pass; the gradient along a random direction is estimated from two forward
            passes (MeZO, Malladi et al., NeurIPS 2023), and the optimizer keeps nothing.

    Raises:
        TechniqueError: a name or number that is not known, in one sentence.
    """

    precision: str = "fp32"
    optimizer: str = "adam"
    attention: str = "eager"
    checkpointing: str = "none"
    train: Trained = EVERYTHING
    accumulate: int = 1
    depth: int | None = None
    release_gradients: bool = False
    forward_only: bool = False

    def __post_init__(self) -> None:
        for key, allowed in _CHOICES.items():
            value = getattr(self, key)
            if value not in allowed:
                raise TechniqueError(f"{value!r} is not one of {', '.join(allowed)}", key=key)
        if not isinstance(self.train, Trained):
            raise TechniqueError(f"{self.train!r} is not what can train, such as LoRA(rank=8)", key="train")
        for key in ("release_gradients", "forward_only"):
            if not isinstance(getattr(self, key), bool):
                raise TechniqueError(f"{getattr(self, key)!r} is not true or false", key=key)
        for key in ("accumulate", "depth"):
            value = getattr(self, key)
            if value is None and key == "depth":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise TechniqueError(f"{value!r} is not a whole number from 1 up", key=key)
        if self.release_gradients and self.accumulate > 1:
            said = "cannot be, with micro-batches: a gradient is complete only after the last of them"
            raise TechniqueError(said, key="release_gradients")
        if self.forward_only and (self.release_gradients or self.checkpointing != "none"):
            which = "release_gradients" if self.release_gradients else "checkpointing"
            raise TechniqueError("cannot be, without a backward pass (forward_only)", key=which)

    @classmethod
    def of(cls, *, train: object = "all", freeze_cnn: bool = False, **how: Any) -> Technique:
        """A technique as people say it: ``train`` as text or as a file says it, too; ``freeze_cnn`` for
        ``train="frozen-cnn"``.

        Raises:
            InputError: it does not exist, or two things are to train.
        """
        trained = train if isinstance(train, Trained) else parse_trained(train)
        if not isinstance(freeze_cnn, bool):
            raise TechniqueError(f"{freeze_cnn!r} is not true or false", key="freeze_cnn")
        if freeze_cnn:
            if trained not in (EVERYTHING, FrozenCNN()):
                raise TechniqueError(f"says frozen-cnn, and train says {trained}; give one", key="freeze_cnn")
            trained = FrozenCNN()
        return cls(train=trained, **how)

    def as_dict(self) -> dict[str, Any]:
        """As plain data, what trains as the command line says it."""
        return {f.name: getattr(self, f.name) for f in fields(self)} | {"train": str(self.train)}

    def changes(self, other: Technique) -> tuple[str, ...]:
        """The names of the fields in which this technique differs from ``other``."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name) != getattr(other, f.name))

    def in_words(self) -> str:
        """What differs from plain training, in a few words."""
        where = {"cnn": "CNN", "both": "everywhere"}.get(self.checkpointing, self.checkpointing)
        said = {
            f"{self.accumulate} micro-batches": self.accumulate > 1,
            self.precision: self.precision != "fp32",
            "fused attention": self.attention != "eager",
            f"checkpointing {where}": self.checkpointing != "none",
            self.optimizer: self.optimizer != "adam",
            self.train.words: self.train != EVERYTHING,
            f"depth {self.depth}": self.depth is not None,
            "gradients released": self.release_gradients,
            "forward passes only": self.forward_only,
        }
        return ", ".join(words for words, so in said.items() if so) or "plain (fp32, Adam, stored attention)"


_CHOICES = {
    "precision": TRAINING_PRECISIONS,
    "optimizer": OPTIMIZERS,
    "attention": ATTENTIONS,
    "checkpointing": CHECKPOINTINGS,
}
