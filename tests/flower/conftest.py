"""A grid without processes: clients answer in this one, as Flower's messages go."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # typer, which Flower imports, is behind click
    from flwr.app import Array, ArrayRecord, Error, Message, MetricRecord, RecordDict
    from flwr.serverapp import Grid, strategy  # noqa: F401
    from flwr.supercore.task_identity import TaskIdentity

SMALL = """
name: small
seed: 3
fleet:
  clients: {clients}
  mix:
    - {{device: jetson-xavier-nx, share: 0.5, link: wifi, speed_spread: 0.2}}
    - {{device: raspberry-pi-4, share: 0.5, link: wifi{more}}}
workload: {{corpus: common-voice-it-7, utterances: 40, max_seconds: 8}}
training: {{model: wav2vec2-base, precision: fp32, batch_size: 4}}
rounds: {{count: 3, cohort: 4, close: {close}}}
"""


class LocalGrid(Grid):
    """Nodes registered in order; ``answer(client, message)`` gives arrays and metrics, or raises."""

    def __init__(self, nodes: int, answer: Callable, silent: tuple[int, ...] = ()) -> None:
        self.ids = [int(i) for i in random.Random(nodes).sample(range(1, 2**62), nodes)]
        self.answer, self.silent = answer, silent
        self.trained: list[list[int]] = []

    def set_run(self, run):
        raise AssertionError

    @property
    def run(self):
        return SimpleNamespace(run_id=1)

    def create_message(self, content, message_type, dst_node_id, group_id, ttl=None):
        raise AssertionError

    def get_node_ids(self):
        return set(self.ids)

    def get_nodes(self):
        return [
            SimpleNamespace(node_id=node, name="", registered_at=f"2026-01-01T00:00:00.{n:06d}")
            for n, node in sorted(enumerate(self.ids), key=lambda pair: pair[1])
        ]

    def push_messages(self, messages):
        raise AssertionError

    def pull_messages(self, message_ids):
        raise AssertionError

    def send_and_receive(self, messages, *, timeout=None):
        replies = []
        messages = list(messages)
        clients = [self.ids.index(m.metadata.dst_node_id) for m in messages]
        if any(m.metadata.message_type == "train" for m in messages):
            self.trained.append(clients)
        for client, message in zip(clients, messages, strict=True):
            if client in self.silent:
                continue
            try:
                arrays, metrics = self.answer(client, message)
            except Exception as fault:
                replies.append(Message(Error(code=1, reason=str(fault)), reply_to=message))
                continue
            content = {"metrics": MetricRecord(metrics)}
            if message.metadata.message_type == "train":
                content["arrays"] = ArrayRecord({"w": Array(arrays)})
            replies.append(Message(RecordDict(content), reply_to=message))
        return sorted(replies, key=lambda reply: reply.metadata.src_node_id)  # no order that means anything


def learns(client: int, message: Message):
    """A client whose update is its own number, and whose loss falls with it."""
    if message.metadata.message_type != "train":
        return None, {"eval_loss": 2.0 + client, "num-examples": 1}
    return np.full(2, float(client), np.float32), {
        "train_loss": 1.0 / (client + 1),
        "num-examples": client + 1,
    }


@pytest.fixture
def scenario(tmp_path):
    """Writes a small scenario and gives its path."""

    def write(clients: int = 6, close: str = "{policy: wait-all}", more: str = "") -> str:
        path = tmp_path / f"small-{clients}.yaml"
        path.write_text(SMALL.format(clients=clients, close=close, more=more))
        return str(path)

    return write


@pytest.fixture
def local_grid():
    """Makes a :class:`LocalGrid`; its clients learn unless told otherwise."""

    def make(nodes: int = 6, answer: Callable = learns, silent: tuple[int, ...] = ()) -> LocalGrid:
        return LocalGrid(nodes, answer, silent)

    return make


@pytest.fixture
def initial():
    """The arrays that an app begins with."""
    return ArrayRecord({"w": Array(np.zeros(2, np.float32))})


@pytest.fixture(autouse=True)
def identity(monkeypatch):
    """Who sends a message; Flower sets it when a run starts."""
    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)
