"""Loss-weighted aggregation as a Flower strategy.

Weights are softmax(-loss) over the round's updates: exp(-loss_k) / sum_j exp(-loss_j), reference 15
of Gao et al. (2022). They are computed in float64 relative to the smallest loss, so they sum to 1
whatever the losses are; exp(-loss) by itself is 0 as an integer for every positive loss, and
underflows in float64 beyond a loss of 745. The mean is taken in float64 too, and given back in each
array's own type.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from logging import WARNING
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.exception import InconsistentMessageReplies
from flwr.serverapp.strategy import FedAvg
from flwr.supercore import log

from fedsim.learning.aggregate.loss_weighted import Softmax as Rule


class LossWeighted(FedAvg):
    """Federated averaging whose weights are softmax(-loss).

    An update is refused, with a line in the log, if its loss is missing or not finite, if an array
    holds anything that is not finite, or if its arrays have other names or shapes than those that were
    sent out (those of the first update, if the strategy sent none out itself).

    Args:
        loss_key: the metric that holds a client's mean training loss.
        **settings: those of ``FedAvg``. ``weighted_by_key`` still weighs evaluation metrics; the
            metrics of training are averaged with the weights of the updates unless
            ``train_metrics_aggr_fn`` is given.

    Attributes:
        shares: weight of each update aggregated last, by node id; they sum to 1.
        refused: why each update refused last was, by node id.
    """

    def __init__(self, loss_key: str = "train_loss", **settings: Any) -> None:
        super().__init__(**settings)
        self.loss_key = loss_key
        self.shares: dict[int, float] = {}
        self.refused: dict[int, str] = {}
        self._sent: dict[str, np.ndarray] | None = None
        self._own_metrics = settings.get("train_metrics_aggr_fn") is not None

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """As ``FedAvg`` does, with a note of what was sent out."""
        self._sent = {name: array.numpy() for name, array in arrays.items()}
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The weighted mean of the updates, and of their metrics.

        Returns:
            None and None if there is no update to use.

        Raises:
            InconsistentMessageReplies: if there are updates and none reports the loss.
        """
        self.shares, self.refused = {}, {}
        valid, _ = self._check_and_log_replies(list(replies), is_train=True, validate=False)
        if valid and all(self._loss(reply) is None for reply in valid):
            seen = sorted({name for m in valid for r in m.content.metric_records.values() for name in r})
            raise InconsistentMessageReplies(
                f"no reply of round {server_round} reports {self.loss_key!r}, by which its update would be "
                f"weighted; the replies report {', '.join(seen) if seen else 'no metrics'}: let the clients "
                f"report it, or name theirs: LossWeighted(loss_key=...)"
            )
        model = self._sent or next((_arrays(reply) for reply in valid if not self._fault(reply, None)), None)
        used = [reply for reply in valid if self._usable(reply, model)]
        if not used or model is None:
            return None, None
        rule = Rule(sum(array.size for array in model.values()))
        for reply in used:
            rule.add(_flat(_arrays(reply)), 1.0, float(self._loss(reply) or 0.0))
        mean, weights = rule.finish()
        self.shares = {r.metadata.src_node_id: float(w) for r, w in zip(used, weights, strict=True)}
        return _shaped(mean, model), self._metrics(used, weights)

    def _loss(self, reply: Message) -> float | None:
        for record in reply.content.metric_records.values():
            value = record.get(self.loss_key)
            if isinstance(value, int | float):
                return float(value)
        return None

    def _fault(self, reply: Message, model: dict[str, np.ndarray] | None) -> str | None:
        """Why an update cannot be used; None if it can."""
        loss = self._loss(reply)
        if loss is None or not math.isfinite(loss):
            return f"its {self.loss_key} is {'missing' if loss is None else loss}"
        if len(reply.content.array_records) != 1:
            return f"it has {len(reply.content.array_records)} array records; one is needed"
        try:
            arrays = _arrays(reply)
        except (TypeError, ValueError, OSError, EOFError):
            return "its arrays cannot be read"
        if not all(array.dtype.kind in "fiub" for array in arrays.values()):
            return "its arrays hold values that are no numbers"
        if not all(np.isfinite(array).all() for array in arrays.values()):
            return "its arrays hold values that are not finite"
        if model is not None and _shapes(arrays) != _shapes(model):
            return "its arrays have other names or shapes than the model's"
        return None

    def _usable(self, reply: Message, model: dict[str, np.ndarray] | None) -> bool:
        fault = self._fault(reply, model)
        if fault is not None:
            node = reply.metadata.src_node_id
            self.refused[node] = fault
            log(WARNING, "aggregate_train: the update of node %d is refused: %s", node, fault)
        return fault is None

    def _metrics(self, used: Sequence[Message], weights: np.ndarray) -> MetricRecord:
        if self._own_metrics:
            return self.train_metrics_aggr_fn([reply.content for reply in used], self.weighted_by_key)
        found = [_numbers(reply) for reply in used]
        common = [name for name in found[0] if all(name in one for one in found)]
        return MetricRecord(
            {n: math.fsum(w * one[n] for w, one in zip(weights, found, strict=True)) for n in common}
        )


def _arrays(reply: Message) -> dict[str, np.ndarray]:
    record = next(iter(reply.content.array_records.values()))
    return {name: array.numpy() for name, array in record.items()}


def _shapes(arrays: dict[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in arrays.items()}


def _flat(arrays: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([np.asarray(arrays[name], np.float64).reshape(-1) for name in sorted(arrays)])


def _shaped(flat: np.ndarray, model: dict[str, np.ndarray]) -> ArrayRecord:
    """The inverse of :func:`_flat`, in the model's types; whole numbers are rounded to the nearest."""
    found, start = {}, 0
    for name in sorted(model):
        like = model[name]
        part = flat[start : start + like.size].reshape(like.shape)
        found[name] = (np.rint(part) if np.issubdtype(like.dtype, np.integer) else part).astype(like.dtype)
        start += like.size
    return ArrayRecord({name: Array(np.asarray(found[name])) for name in model})


def _numbers(reply: Message) -> dict[str, float]:
    records = reply.content.metric_records.values()
    return {n: float(v) for record in records for n, v in record.items() if isinstance(v, int | float)}
