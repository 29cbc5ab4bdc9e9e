"""An app that must repeat itself: ``python repeat_app.py SCENARIO OUT [SUPERNODES]``.

Its strategy draws clients for training and for evaluation, and adds noise. With SUPERNODES it runs on
Flower's real engine, else on a grid in this process whose node ids and order of replies are new each
time, while another thread draws from the global generators without end.
"""

from __future__ import annotations

import random
import sys
import threading
from secrets import SystemRandom

import numpy as np
from conftest import LocalGrid
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.supercore.task_identity import TaskIdentity

from fedsim.flower import Fleet


def answer(client, message):
    if message.metadata.message_type != "train":
        return None, {"eval_loss": 0.1 * (client + 1), "num-examples": client + 1}
    return np.full(2, 0.1 * client), {"train_loss": 0.1 * (client + 1), "num-examples": client + 1}


class Noisy(FedAvg):
    """Noise of Python's and of NumPy's on the aggregate."""

    def aggregate_train(self, server_round, replies):
        arrays, metrics = super().aggregate_train(server_round, replies)
        noise = random.gauss(0.0, 1.0) + np.random.normal(0.0, 1.0, 2)
        return ArrayRecord({"w": Array(arrays["w"].numpy() + noise)}), metrics


class Shuffled(LocalGrid):
    def send_and_receive(self, messages, *, timeout=None):
        replies = super().send_and_receive(messages, timeout=timeout)
        SystemRandom().shuffle(replies)
        return replies


def ride(grid):
    strategy = Noisy(fraction_train=0.5, fraction_evaluate=0.5, min_available_nodes=2)
    result = (
        Fleet(sys.argv[1], out=sys.argv[2], report=False)
        .wrap(strategy)
        .start(grid=grid, initial_arrays=ArrayRecord({"w": Array(np.zeros(2))}), num_rounds=4, timeout=60)
    )
    told = {n: dict(metrics) for n, metrics in result.evaluate_metrics_clientapp.items()}
    print("told", result.arrays["w"].numpy().tolist(), told)


def draw_on(stopped):
    while not stopped.is_set():
        random.random()
        np.random.random()


client, server = ClientApp(), ServerApp()


@client.train()
@client.evaluate()
def reply(message, context):
    arrays, metrics = answer(int(context.node_config["partition-id"]), message)
    content = {"metrics": MetricRecord(metrics)}
    if arrays is not None:
        content["arrays"] = ArrayRecord({"w": Array(arrays)})
    return Message(RecordDict(content), reply_to=message)


@server.main()
def main(grid, context):
    ride(grid)


if __name__ == "__main__":
    if len(sys.argv) > 3:
        from flwr.simulation import run_simulation

        run_simulation(
            server_app=server,
            client_app=client,
            num_supernodes=int(sys.argv[3]),
            backend_config={"client_resources": {"num_cpus": 1}, "init_args": {"num_cpus": 1}},
        )
    else:
        TaskIdentity._task_id = TaskIdentity._run_id = TaskIdentity._node_id = 1
        local = Shuffled(6, answer)
        local.ids = SystemRandom().sample(range(1, 2**62), 6)
        stopped = threading.Event()
        threading.Thread(target=draw_on, args=(stopped,)).start()
        try:
            ride(local)
        finally:
            stopped.set()
