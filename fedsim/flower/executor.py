"""A learner's clients as Flower ClientApps: a pool like those of :mod:`fedsim.learning.workers`.

A job travels as a message with the weights it starts from; what comes back are the trained weights
and the job's account. Whichever process does a job, its result depends on the job alone, and results
are handed out in the order of the jobs, so the global model is, bit for bit, that of the built-in
executor on the same machine. The processes belong to one run and run this code, so accounts travel
pickled, as they do between worker processes.
"""

from __future__ import annotations

import pickle
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MessageType, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from numpy.typing import NDArray

from fedsim.errors import FedsimError
from fedsim.learning.federation import Federation
from fedsim.learning.local import Job, Trainer, TrainJob
from fedsim.learning.workers import Answer

LOOK_S = 0.02  # of real time, between two looks for replies
NODES_S = 60.0  # of real time, that Flower's nodes may take to register


@lru_cache(maxsize=1)
def trainer_of(spec: Federation, seed: int) -> Trainer:
    """The trainer of this process; corpus, partition and model are made once."""
    return Trainer(spec, seed)


def _unpacked(record: ConfigRecord) -> Any:
    packed = record["pickle"]
    assert isinstance(packed, bytes)
    return pickle.loads(packed)


def client_app() -> ClientApp:
    """A client that does whichever job it is sent."""
    app = ClientApp()

    def do(message: Message, context: Context) -> Message:
        spec, seed, job = _unpacked(message.content.config_records["job"])
        vector = message.content.array_records["weights"]["vector"].numpy()
        out = np.zeros_like(vector)
        account = trainer_of(spec, seed).compute(job, vector, out)
        content: dict[str, Any] = {"account": ConfigRecord({"pickle": pickle.dumps(account)})}
        if isinstance(job, TrainJob):
            content["weights"] = ArrayRecord({"vector": Array(out)})
        return Message(RecordDict(content), reply_to=message)

    app.train()(do)
    app.evaluate()(do)
    return app


class FlowerPool:
    """A pool on the nodes of a running Flower engine; see ``workers.InProcess`` for spec to size.

    Args:
        grid: of the ServerApp in whose thread this runs.
        stopped: set once the engine is gone.

    Raises:
        FedsimError: if no node registers.
    """

    def __init__(
        self,
        spec: Federation,
        seed: int,
        versions: int,
        size: int,
        grid: Grid,
        stopped: threading.Event,
    ) -> None:
        self.versions = np.zeros((versions, size), np.float32)
        self._spec, self._seed, self._grid, self._stopped = spec, seed, grid, stopped
        self._none = np.zeros(0, np.float32)
        until = time.monotonic() + NODES_S
        while not (nodes := list(grid.get_node_ids())):
            self._wait()
            if time.monotonic() > until:
                raise FedsimError(f"no node of Flower's engine registered within {NODES_S:g} s")
        self._nodes = nodes

    def run(self, jobs: Sequence[Job]) -> Iterator[Answer]:
        """The results of ``jobs`` in order; the weights are valid until the next one is asked for.

        Raises:
            FedsimError: if a client fails, or the engine is gone.
        """
        waiting, free = deque(range(len(jobs))), deque(self._nodes)
        sent: dict[str, tuple[int, int]] = {}
        done: dict[int, Answer] = {}
        for turn, job in enumerate(jobs):
            while turn not in done:
                while waiting and free and len(sent) + len(done) < 2 * len(self._nodes):
                    number, node = waiting.popleft(), free.popleft()
                    (identity,) = self._grid.push_messages([self._message(jobs[number], node)])
                    sent[identity] = number, node
                replies = list(self._grid.pull_messages(sent)) if sent else []
                for reply in replies:
                    number, node = sent.pop(reply.metadata.reply_to_message_id)
                    free.append(node)
                    done[number] = self._answer(jobs[number], reply)
                if not replies:
                    self._wait()
            assert job is jobs[turn]
            yield done.pop(turn)

    def _message(self, job: Job, node: int) -> Message:
        kind = MessageType.TRAIN if isinstance(job, TrainJob) else MessageType.EVALUATE
        packed = pickle.dumps((self._spec, self._seed, job))
        content: dict[str, Any] = {
            "job": ConfigRecord({"pickle": packed}),
            "weights": ArrayRecord({"vector": Array(self.versions[job.version].copy())}),
        }
        return Message(RecordDict(content), dst_node_id=node, message_type=kind)

    def _answer(self, job: Job, reply: Message) -> Answer:
        if reply.has_error():
            raise FedsimError(f"{job} failed on Flower's engine: {reply.error.reason}")
        account = _unpacked(reply.content.config_records["account"])
        vector: NDArray[np.float32] = self._none
        if isinstance(job, TrainJob):
            vector = reply.content.array_records["weights"]["vector"].numpy()
        return account, vector

    def _wait(self) -> None:
        if self._stopped.wait(LOOK_S):
            raise FedsimError("Flower's engine has stopped; its own messages above say why")

    def close(self) -> None:
        """The engine ends with its ServerApp."""
