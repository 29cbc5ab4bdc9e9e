"""What an app's replies and metrics say: losses, shares in the new model, lines of convergence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from flwr.app import Message, MetricRecord
from flwr.serverapp.strategy import FedAvg, FedProx, Strategy

from fedsim.flower.loss_weighted import LossWeighted
from fedsim.flower.rounds import Metric, Verdict
from fedsim.missing import MISSING

#: Names under which apps report a client's mean training loss, in the order in which they are tried.
LOSS_NAMES = ("train_loss", "train-loss", "loss")
#: Names under which apps report on how many examples a client trained.
EXAMPLES_NAMES = ("num-examples", "num_examples")
_PREFIXES = ("train", "eval", "evaluate", "evaluation", "val", "valid", "validation", "test")

NO_REPLY = Verdict(outcome="failed")


def number(message: Message, names: Sequence[str]) -> float:
    """The first of some metrics that a reply has as a single number; ``MISSING`` if it has none."""
    for name in names:
        for record in message.content.metric_records.values():
            value = record.get(name)
            if isinstance(value, int | float):
                return math.nan if math.isnan(value) else float(value)  # which has no bits of its own
    return MISSING


def metric_name(name: str) -> str:
    """An app's name for a metric without the split that it begins with: ``eval_loss`` is ``loss``."""
    for mark in ("_", "-"):
        head, found, tail = name.partition(mark)
        if found and tail and head.lower() in _PREFIXES:
            return tail
    return name


def lines(metrics: Mapping[str, object] | None, split: str) -> list[Metric]:
    """Aggregated metrics as lines of ``convergence.parquet``; lists have no place there."""
    return [
        (metric_name(name), split, float(value))
        for name, value in (metrics or {}).items()
        if isinstance(value, int | float)
    ]


def shares(strategy: Strategy, replies: Mapping[int, Message]) -> dict[int, float]:
    """The share of each client's update in the new model, where it is known.

    It is for :class:`LossWeighted` and for strategies that aggregate as Flower's ``FedAvg`` does, by
    a metric of theirs; a strategy with an ``aggregate_train`` of its own has shares of its own.

    Args:
        strategy: that aggregated.
        replies: without errors, by client.
    """
    if isinstance(strategy, LossWeighted):
        by_node = strategy.shares
        return {client: by_node.get(reply.metadata.src_node_id, 0.0) for client, reply in replies.items()}
    if not isinstance(strategy, FedAvg) or type(strategy).aggregate_train not in (
        FedAvg.aggregate_train,
        FedProx.aggregate_train,
    ):
        return {}
    raw = {client: number(reply, [strategy.weighted_by_key]) for client, reply in replies.items()}
    total = math.fsum(raw.values())
    return {client: value / total for client, value in raw.items()} if total > 0.0 else {}


def verdicts(
    strategy: Strategy, completed: Sequence[int], replies: Mapping[int, Message], loss_names: Sequence[str]
) -> dict[int, Verdict]:
    """What became of each client that completed on the simulated clock.

    Args:
        strategy: that aggregated the replies.
        completed: the clients.
        replies: the reply of each client that sent one, errors included.
        loss_names: see :func:`number`.
    """
    good = {client: reply for client, reply in replies.items() if not reply.has_error()}
    share = shares(strategy, good)
    refused = strategy.refused if isinstance(strategy, LossWeighted) else {}
    found = {}
    for client in completed:
        if client not in good:
            found[client] = NO_REPLY
            continue
        node = good[client].metadata.src_node_id
        found[client] = Verdict(
            number(good[client], loss_names),
            share.get(client, MISSING),
            "rejected" if node in refused else "completed",
            number(good[client], EXAMPLES_NAMES),
        )
    return found


def as_metrics(record: MetricRecord | None) -> Mapping[str, object]:
    """A record of metrics as a mapping."""
    return dict(record.items()) if record is not None else {}
