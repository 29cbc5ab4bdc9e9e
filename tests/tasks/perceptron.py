"""A task of a stranger's: a perceptron tells two clouds of points apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from fedsim.extend import Metric, Outcome, Task, kind, option


@dataclass(frozen=True, kw_only=True)
class Perceptron(Task):
    """Classification of synthetic points by a network with one hidden layer."""

    metrics = (
        Metric("loss", "cross-entropy", "nats"),
        Metric("accuracy", "share told right", better="higher", chance=0.5),
    )
    hidden: int = option(16, "units of the hidden layer", ge=1)
    points: int = option(400, "points in all", ge=40)
    task: Literal["perceptron"] = kind("perceptron", "what is learned")

    def build(self):
        from torch import nn

        return nn.Sequential(
            nn.Linear(2, self.hidden), nn.BatchNorm1d(self.hidden), nn.ReLU(), nn.Linear(self.hidden, 2)
        )

    def data(self, seed):
        return Points(self.points)

    def batch(self, data, examples, draw, training):
        import torch

        return torch.tensor(data.x[examples]), torch.tensor(data.y[examples])

    def fake_batch(self, batch, sizes):
        import torch

        return torch.empty(batch, 2), torch.empty(batch, dtype=torch.int64)

    def loss(self, model, batch, round_index):
        from torch.nn import functional

        points, labels = batch
        scores = model(points)
        loss = functional.cross_entropy(scores, labels)
        return Outcome(loss, lambda: sums(loss, scores, labels))

    def summary(self, sums):
        return {"loss": sums["loss"] / sums["count"], "accuracy": sums["right"] / sums["count"]}


def sums(loss, scores, labels):
    right = int((scores.argmax(dim=1) == labels).sum())
    return {"loss": float(loss.detach()) * len(labels), "count": len(labels), "right": right}


class Points:
    """Two clouds; every tenth point is held out, the others are dealt to eight parts."""

    notes, account = ("two clouds of points",), None

    def __init__(self, count):
        draw = np.random.default_rng(0)
        self.y = np.arange(count) % 2
        self.x = (draw.normal(size=(count, 2)) + 3.0 * self.y[:, None]).astype(np.float32)
        numbers = np.arange(count)
        train = numbers[numbers % 10 > 0]
        self.parts = [train[k::8] for k in range(8)]
        self.held = numbers[numbers % 10 == 0]

    def held_out(self, split):
        return [self.held]
