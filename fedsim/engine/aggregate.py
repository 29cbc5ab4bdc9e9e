"""The close of a round: the learner is called with the updates that arrived, and its verdict noted."""

from __future__ import annotations

import numpy as np

from fedsim.engine.records import COMPLETED, REJECTED, RoundRecord
from fedsim.engine.world import Floats, Learner
from fedsim.missing import MISSING, is_missing


def close_round(record: RoundRecord, learner: Learner | None) -> None:
    """Hand the completed updates of ``record`` to the learner in order of arrival, and fill in what it says.

    Clients that arrive at the same instant come in order of their number. Without a learner weights
    and losses stay ``MISSING``; with one, a row without an accepted update has weight 0, and the examples
    of the completed are those that the learner trained on, whatever the clock took them to be. If nobody
    completed, the learner is called with no clients: the model stays as it was, and may be evaluated.
    """
    rows = record.clients
    if learner is None:
        return
    rows.weight[:] = 0.0
    done = np.flatnonzero(rows.outcome == COMPLETED)
    done = done[np.lexsort((rows.client[done], rows.ended_s[done]))]
    result = learner.train(record.index, rows.client[done], rows.base_round[done], rows.technique[done])
    accepted = np.asarray(result.accepted, dtype=np.bool_)
    rows.outcome[done[~accepted]] = REJECTED
    rows.loss[done] = result.loss
    rows.examples[done] = np.where(np.isnan(result.examples), rows.examples[done], result.examples)
    rows.weight[done] = np.where(accepted, result.weight, 0.0)
    record.loss = mean_loss(rows.loss[done[accepted]], rows.weight[done[accepted]])
    record.metrics = list(result.metrics)


def mean_loss(loss: Floats, weight: Floats) -> float:
    """Mean of the losses of accepted clients, by their weights, or plain if no weight is known.

    ``MISSING`` if nobody reports one; not finite if somebody whose update counts reports such a loss.
    """
    told = ~is_missing(loss)
    if not told.any():
        return MISSING
    loss, weight = loss[told], weight[told]
    if not np.isfinite(weight).all() or not weight.sum() > 0.0:
        return float(loss.mean())
    loss, weight = loss[weight > 0.0], weight[weight > 0.0]
    return float((loss * weight).sum() / weight.sum())
