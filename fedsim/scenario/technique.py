"""From a scenario's training block to the techniques that the cost model prices and the learner trains.

Every client has, in every stage of the schedule, an ordered list of techniques, the first of which that
fits is taken. What of a technique the learner has to know is a *way*: what runs, what trains, and how the
optimizer steps. The ways of a scenario are numbered in the order in which they appear in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

from fedsim.errors import InputError, ScenarioError
from fedsim.learning.ways import Way
from fedsim.pricing.technique import Technique
from fedsim.pricing.trained import Last, OneLayer
from fedsim.scenario.model import Differently, Training

_CHECKPOINTING: dict[bool | str, str] = {False: "none", True: "both"}


class Placed(NamedTuple):
    """A technique, and the block of the scenario that says so."""

    technique: Technique
    key: str


def technique(training: Training, precisions: tuple[str, ...] | None = None) -> Technique:
    """The technique of a training block on a device.

    Args:
        training: the block.
        precisions: what the device can train in; a precision that it lacks falls back to fp32.
            None: as the block says.
    """
    precision = training.precision
    if precisions is not None and precision not in precisions:
        precision = "fp32"
    return Technique(
        precision=precision,
        optimizer=training.optimizer,
        attention=training.attention,
        checkpointing=_CHECKPOINTING.get(training.checkpointing, str(training.checkpointing)),
        train=training.trained,
        depth=training.depth,
        release_gradients=training.release_gradients,
        forward_only=training.forward_only,
    )


def techniques(
    training: Training,
    own: Differently | None = None,
    precisions: tuple[str, ...] | None = None,
    key: str = "training",
) -> list[list[Placed]]:
    """What a client trains with, by stage, in the order in which it tries them.

    Args:
        training: the scenario's block.
        own: what is another for the client's entry of the mix.
        precisions: see :func:`technique`.
        key: of ``own``, for errors.

    Raises:
        ScenarioError: one of them cannot be.
    """
    found = []
    for number, stage in enumerate(training.schedule or (None,)):
        here = key if own is not None else "training" if stage is None else f"training.schedule[{number}]"
        block = training.but(stage).but(own)
        with said_of(here):
            plain = technique(block, precisions)
            tried = [Placed(plain, here), *(Placed(one, here) for one in fallbacks(block, plain))]
        for place, less in enumerate(training.shallower):
            with said_of(f"training.shallower[{place}]"):
                tried.append(Placed(technique(block.but(less), precisions), f"training.shallower[{place}]"))
        found.append(tried)
    return found


def fallbacks(training: Training, plain: Technique) -> list[Technique]:
    """What a client does instead if ``plain`` needs more memory than it has, in the order it tries.

    ``shrink-batch`` halves the micro-batch again and again and accumulates gradients, so that the
    step stays the same; ``checkpoint`` recomputes the transformer's activations, then all. What
    ``shallower`` lists is another training block, see :func:`techniques`.
    """
    if training.on_oom == "shrink-batch":
        halvings = range(1, training.batch_size.bit_length())
        return [replace(plain, accumulate=plain.accumulate * 2**k) for k in halvings]
    if training.on_oom == "checkpoint":
        order = ("none", "transformer", "both")
        already = order.index(plain.checkpointing) if plain.checkpointing in order else 1
        return [replace(plain, checkpointing=more) for more in order[already + 1 :]]
    return []


@contextmanager
def said_of(key: str) -> Iterator[None]:
    """What cannot be used is said of the block at ``key``.

    Raises:
        ScenarioError: what came from inside as an InputError.
    """
    try:
        yield
    except InputError as error:
        inside = (error.key or "").removeprefix("training.")
        raise ScenarioError(error.message, key=f"{key}.{inside}" if inside else key) from None


def way_of(one: Technique) -> Way:
    """What of a technique the learner has to know."""
    return Way(one.train, one.depth, one.release_gradients, one.forward_only)


def ways(training: Training, owns: Sequence[Differently | None]) -> tuple[Way, ...]:
    """The ways of a scenario's clients, each once, in the order of stages, then entries, then fallbacks.

    Args:
        training: the scenario's block.
        owns: what is another for each entry of its mix.

    Raises:
        ScenarioError: a technique cannot be.
    """
    by_entry = [
        techniques(training, own, key=f"fleet.mix[{place}].training") for place, own in enumerate(owns)
    ]
    stages = range(len(by_entry[0]))
    tried = [one.technique for stage in stages for entry in by_entry for one in entry[stage]]
    return tuple(dict.fromkeys(way_of(one) for one in tried))


def in_model(way: Way, layers: int, others: int) -> Way:
    """A way of a model with so many layers, in a model with another number of them.

    Layers are counted in proportion, upwards: layer 5 of 12 is layer 2 of 3, and so is a depth of 5.
    """

    def share(count: int) -> int:
        return -(-count * others // layers)

    train = way.train
    if isinstance(train, Last):
        train = replace(train, layers=share(train.layers))
    elif isinstance(train, OneLayer):
        train = replace(train, layer=share(train.layer))
    return replace(way, train=train, depth=None if way.depth is None else share(way.depth))


def name_of(way: Way) -> str:
    """A way in a few words, such as ``last:2, depth 6``."""
    said = [str(way.train) + (" and head" if getattr(way.train, "head", False) else "")]
    said += [f"depth {way.depth}"] if way.depth is not None else []
    said += ["gradients released"] if way.release_gradients else []
    said += ["forward only"] if way.forward_only else []
    return ", ".join(said)


def in_words(differently: Differently | None) -> str:
    """What is another, in a few words, such as ``train last:2, depth 6``; empty if nothing is."""
    changes = {} if differently is None else differently.changes
    said = [f"train {name_of(Way(changes.pop('train')))}"] if "train" in changes else []
    return ", ".join([*said, *(f"{key} {_plain(value)}" for key, value in changes.items())])


def _plain(value: object) -> str:
    return {"True": "true", "False": "false"}.get(str(value), str(value))
