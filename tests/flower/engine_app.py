"""A Flower app on the real simulation engine: ``python engine_app.py SCENARIO OUT SUPERNODES``.

Each client's update and loss tell its partition; the one with partition 1 raises.
"""

from __future__ import annotations

import sys

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from fedsim.flower import Fleet

client, server = ClientApp(), ServerApp()


@client.train()
def train(message, context):
    partition = int(context.node_config["partition-id"])
    if partition == 1:
        raise ValueError("no data here")
    metrics = MetricRecord({"train_loss": float(partition), "num-examples": 1})
    arrays = ArrayRecord({"w": Array(np.full(2, float(partition)))})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)


@server.main()
def main(grid, context):
    strategy = Fleet(sys.argv[1], out=sys.argv[2], report=False).wrap(FedAvg(fraction_evaluate=0.0))
    result = strategy.start(
        grid=grid, initial_arrays=ArrayRecord({"w": Array(np.zeros(2))}), num_rounds=2, timeout=60
    )
    print("weights", result.arrays["w"].numpy().tolist())


if __name__ == "__main__":
    run_simulation(
        server_app=server,
        client_app=client,
        num_supernodes=int(sys.argv[3]),
        backend_config={"client_resources": {"num_cpus": 1}, "init_args": {"num_cpus": 1}},
    )
