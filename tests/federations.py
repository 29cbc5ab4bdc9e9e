"""Federations for tests: any field of a federation, of its learning block or of its task by its name."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from fedsim.learning import Federation, Learning, make_learner
from fedsim.learning.aggregate import AGGREGATIONS
from fedsim.learning.byzantine import BYZANTINES
from fedsim.learning.compression import COMPRESSIONS
from fedsim.options import name_of

RULES = [name_of(rule) for rule in AGGREGATIONS]
KINDS = [name_of(kind) for kind in COMPRESSIONS]
LIES = [name_of(kind) for kind in BYZANTINES]


def named(choices: tuple[type, ...], name: str, *values: Any, **options: Any) -> Any:
    """One of several choices by its name, with those of the options that it has."""
    (chosen,) = [choice for choice in choices if name_of(choice) == name]
    known = {field.name for field in fields(chosen)}
    return chosen(*values, **{key: value for key, value in options.items() if key in known})


def rule(name: str, **options: Any) -> Any:
    """An aggregation rule by its name."""
    return named(AGGREGATIONS, name, **options)


def compression(name: str, share: float = 0.01) -> Any:
    """A compression by its name."""
    return named(COMPRESSIONS, name, share=share)


def lies(share: float, name: str, *scale: float) -> Any:
    """Byzantine clients by the name of what they send."""
    return named(BYZANTINES, name, share, *scale)


def learnt(federation: Federation) -> tuple[bytes, dict[tuple[str, str], list[float]]]:
    """What a federation learns, whose clients all take part in all its rounds.

    One worker and two must give the same.

    Returns:
        The float32 weights, and the values of each metric and split, those of the initial model first.
    """
    everyone, seen = np.arange(federation.clients), []
    for workers in (1, 2):
        with make_learner(federation, 3, workers) as learner:
            metrics = learner.initial_metrics()
            for index in range(federation.rounds):
                metrics += learner.train(index, everyone, np.full(everyone.size, index)).metrics
            seen.append((learner.weights().tobytes(), metrics))
    assert seen[0] == seen[1]
    values: dict[tuple[str, str], list[float]] = {}
    for metric, split, value in seen[0][1]:
        values.setdefault((metric, split), []).append(value)
    return seen[0][0], values


def federation(**values: Any) -> Federation:
    """A federation of wav2vec2 with these values."""
    return changed(Federation(), **values)


def changed(base: Federation, **values: Any) -> Federation:
    """The same federation with these values in whichever block they belong to."""
    options = {key: values.pop(key) for key in ("proximal", "server_rate", "trim") if key in values}
    share = values.pop("compression_share", 0.01)
    if isinstance(values.get("aggregate"), str):
        values["aggregate"] = rule(values["aggregate"], **options)
    if isinstance(values.get("compression"), str):
        values["compression"] = compression(values["compression"], share)
    whole = {field.name for field in fields(Federation)} - {"learning"}
    block = {field.name for field in fields(Learning)}
    task = replace(base.task, **{k: v for k, v in values.items() if k not in whole | block})
    inner = {"task": task, **{k: v for k, v in values.items() if k in block}}
    outer = {k: v for k, v in values.items() if k in whole}
    return replace(base, learning=replace(base.learning, **inner), **outer)


def built(model: str, seed: int) -> Any:
    """A fresh wav2vec 2.0 of a preset."""
    from fedsim.learning.local import fresh_model
    from fedsim.tasks import Wav2Vec2

    return fresh_model(Wav2Vec2(model=model), seed)
