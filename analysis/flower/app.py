"""A stock Flower app: softmax regression on synthetic data that no two clients share evenly.

Nothing in the ClientApp knows of fedsim. In the ServerApp, two lines do: the import, and the line
that wraps the strategy (left out with ``--without``).

    python analysis/flower/app.py --out runs/flower-example      # with the fleet
    python analysis/flower/app.py --without                      # as Flower runs it
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

NODES, ROUNDS, CLASSES, FEATURES = 12, 12, 6, 20
FLEET = Path(__file__).with_name("fleet.yaml")


def examples(number: int, shares: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points around one centre a class."""
    centres = np.random.default_rng(0).normal(0.0, 0.9, (CLASSES, FEATURES))
    draw = np.random.default_rng(seed)
    labels = draw.choice(CLASSES, number, p=shares)
    return centres[labels] + draw.normal(0.0, 1.0, (number, FEATURES)), labels


def of_client(client: int) -> tuple[np.ndarray, np.ndarray]:
    """200 examples, nine in ten of one class, the same one for every sixth client."""
    shares = np.full(CLASSES, 0.1 / (CLASSES - 1))
    shares[client % CLASSES] = 0.9
    return examples(200, shares, 100 + client)


def loss_and_slope(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """Cross-entropy in nats and its gradient."""
    scores = x @ w
    scores -= scores.max(axis=1, keepdims=True)
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(len(y)), y]).mean()
    p[np.arange(len(y)), y] -= 1.0
    return float(loss), x.T @ p / len(y)


def make_client_app() -> ClientApp:
    """One that trains for five steps."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        w = message.content["arrays"]["w"].numpy().copy()
        x, y = of_client(int(context.node_config["partition-id"]))
        losses = []
        for _ in range(5):
            loss, slope = loss_and_slope(w, x, y)
            losses.append(loss)
            w -= 0.2 * slope
        metrics = MetricRecord({"train_loss": float(np.mean(losses)), "num-examples": len(y)})
        content = {"arrays": ArrayRecord({"w": Array(w)}), "metrics": metrics}
        return Message(RecordDict(content), reply_to=message)

    return app


def evaluate(server_round: int, arrays: ArrayRecord) -> MetricRecord:
    """Loss and accuracy on 3,000 unseen examples, all classes alike."""
    w = arrays["w"].numpy()
    x, y = examples(3000, np.full(CLASSES, 1 / CLASSES), 1)
    hit = float(((x @ w).argmax(axis=1) == y).mean())
    return MetricRecord({"test_loss": loss_and_slope(w, x, y)[0], "test_accuracy": hit})


def make_server_app(out: str | None, told: dict[int, dict[str, float]]) -> ServerApp:
    """One that averages; with ``out`` its nodes are a fleet. ``told`` receives the evaluations."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        strategy = FedAvg(fraction_evaluate=0.0)
        if out is not None:
            from fedsim.flower import Fleet

            strategy = Fleet(FLEET, out=out).wrap(strategy)
        initial = ArrayRecord({"w": Array(np.zeros((FEATURES, CLASSES)))})
        result = strategy.start(grid=grid, initial_arrays=initial, num_rounds=ROUNDS, evaluate_fn=evaluate)
        told.update({n: dict(m) for n, m in result.evaluate_metrics_serverapp.items()})

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--without", action="store_true", help="run as Flower does, without a fleet")
    parser.add_argument("--out", default="runs/flower-example", help="run directory of the fleet")
    parser.add_argument("--told", type=Path, help="write the evaluations to this JSON file")
    asked = parser.parse_args()
    told: dict[int, dict[str, float]] = {}
    run_simulation(
        server_app=make_server_app(None if asked.without else asked.out, told),
        client_app=make_client_app(),
        num_supernodes=NODES,
        backend_config={"client_resources": {"num_cpus": 1}},
    )
    if asked.told is not None:
        asked.told.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
