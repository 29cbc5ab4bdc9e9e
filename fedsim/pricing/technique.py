"""What people do to make training fit, as one frozen value that can be compared and hashed.

Every field is independent of the others.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, get_args

from fedsim.errors import InputError
from fedsim.hardware.device import TRAINING_PRECISIONS

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

    Raises:
        TechniqueError: a name or number that is not known, in one sentence.
    """

    precision: str = "fp32"
    optimizer: str = "adam"
    attention: str = "eager"
    checkpointing: str = "none"
    freeze_cnn: bool = False
    accumulate: int = 1

    def __post_init__(self) -> None:
        for key, allowed in _CHOICES.items():
            value = getattr(self, key)
            if value not in allowed:
                raise TechniqueError(f"{value!r} is not one of {', '.join(allowed)}", key=key)
        if not isinstance(self.freeze_cnn, bool):
            raise TechniqueError(f"{self.freeze_cnn!r} is not true or false", key="freeze_cnn")
        if isinstance(self.accumulate, bool) or not isinstance(self.accumulate, int) or self.accumulate < 1:
            raise TechniqueError(f"{self.accumulate!r} is not a whole number from 1 up", key="accumulate")

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
            "frozen CNN": self.freeze_cnn,
        }
        return ", ".join(words for words, so in said.items() if so) or "plain (fp32, Adam, stored attention)"


_CHOICES = {
    "precision": TRAINING_PRECISIONS,
    "optimizer": OPTIMIZERS,
    "attention": ATTENTIONS,
    "checkpointing": CHECKPOINTINGS,
}
