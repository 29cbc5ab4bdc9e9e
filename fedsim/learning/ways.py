"""The ways in which the clients of a federation train: each its own part of one model.

What any of them trains travels; a way sends and is sent its own share of that. Low-rank updates and adapters
are put into the model itself, so all ways of a federation have the same of them, or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedsim.errors import ScenarioError
from fedsim.pricing.trained import EVERYTHING, Adapters, LoRA, Trained


@dataclass(frozen=True)
class Way:
    """A way in which clients train.

    Attributes:
        train: what trains.
        depth: how many of the model's layers run, from the first on; None: all.
        release_gradients: the optimizer steps inside the backward pass.
        forward_only: gradients are estimated from forward passes.
    """

    train: Trained = EVERYTHING
    depth: int | None = None
    release_gradients: bool = False
    forward_only: bool = False


def inserted_by(ways: Sequence[Way]) -> LoRA | Adapters | None:
    """What the ways of a federation put into its model.

    Raises:
        ScenarioError: there are no ways, or they put in several things.
    """
    if not ways:
        raise ScenarioError("are none; a federation needs at least one way to train", key="training")
    found: LoRA | Adapters | None = None
    for way in ways:
        if not isinstance(way.train, LoRA | Adapters):
            continue
        if found is not None and _put_in(way.train) != _put_in(found):
            said = f"is {way.train}, and others of this federation train {found} with other options"
            if type(way.train) is not type(found) or str(way.train) != str(found):
                said = f"is {way.train}, and others of this federation train {found}"
            raise ScenarioError(
                f"{said}; one model holds one LoRA (rank, modules, alpha) or one kind of adapters",
                key="training.train",
            )
        found = found or way.train
    return found


def _put_in(train: LoRA | Adapters) -> tuple[object, ...]:
    """What decides the modules that are put in; whether the head trains does not."""
    if isinstance(train, LoRA):
        return "lora", train.rank, frozenset(train.modules), train.scale
    return "adapters", train.width
