"""A strategy with a fleet, on a grid whose clients answer in this process."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from flwr.app import MetricRecord
from flwr.serverapp.strategy import FedAvg, FedMedian

import fedsim
from fedsim.errors import InputError, RunError
from fedsim.flower import Fleet, LossWeighted
from fedsim.scenario import load
from fedsim.simulation import execute

MEMORY = ", pressure: {kind: constant, bytes: 6GB}"  # of a Pi's 8 GB: too little is left


def ride(path, out, strategy, grid, initial, rounds=3, **settings):
    wrapped = Fleet(path, out=out, report=False, **settings).wrap(strategy)
    result = wrapped.start(grid=grid, initial_arrays=initial, num_rounds=rounds)
    return result, fedsim.load(out)


def test_a_strategy_that_asks_all_whom_the_scenario_chooses_gives_the_rounds_of_fedsim_run(
    tmp_path, scenario, local_grid, initial
):
    path, grid = scenario(close="{policy: deadline, after: 10min}", more=MEMORY), local_grid()
    _, run = ride(path, tmp_path / "a", FedAvg(), grid, initial, select="scenario")
    alone = fedsim.load(execute.run(load(path), tmp_path / "b"))
    learnt = ["loss", "weight", "examples"]
    assert run.clients.drop(columns=learnt).equals(alone.clients.drop(columns=learnt))
    assert run.rounds.drop(columns="loss").equals(alone.rounds.drop(columns="loss"))
    done = run.clients[run.clients.outcome == "completed"]
    assert 0 < len(done) < len(run.clients)
    assert sorted(c for sent in grid.trained for c in sent) == sorted(done.client)  # the rest was never asked


def test_only_those_who_complete_are_trained_and_their_updates_alone_count(
    tmp_path, scenario, local_grid, initial
):
    result, run = ride(scenario(more=MEMORY), tmp_path / "a", FedAvg(), local_grid(), initial, rounds=1)
    rows = run.clients.set_index("client")
    assert set(rows.outcome[rows.device == "raspberry-pi-4"]) == {"oom"}
    done = rows[rows.outcome == "completed"]
    assert set(done.device) == {"jetson-xavier-nx"}
    client = done.index.to_numpy()
    share = (client + 1) / (client + 1).sum()
    assert done.weight.to_numpy() == pytest.approx(share)
    assert done.loss.to_numpy() == pytest.approx(1 / (client + 1))
    assert list(done.examples) == list(client + 1)  # as the app's clients report them
    mean = (client * share).sum()
    assert result.arrays["w"].numpy() == pytest.approx([mean, mean])
    assert run.rounds.loss[0] == pytest.approx((done.weight * done.loss).sum())


def test_metrics_of_the_app_become_lines_of_convergence(tmp_path, scenario, local_grid, initial):
    strategy = Fleet(scenario(), out=tmp_path / "a", report=False).wrap(FedAvg())
    strategy.start(
        grid=local_grid(),
        initial_arrays=initial,
        num_rounds=2,
        evaluate_fn=lambda number, arrays: MetricRecord({"test_accuracy": 0.1 * number}),
    )
    run = fedsim.load(tmp_path / "a")
    found = run.convergence.set_index(["split", "metric", "round"]).sort_index()
    assert list(found.loc[("test", "accuracy")].value) == pytest.approx([0.0, 0.1, 0.2])
    assert found.loc[("validation", "loss", 0)].value == pytest.approx(4.5)  # mean of 2.0 to 7.0
    assert found.loc[("validation", "loss", 1)].time_s == run.rounds.end_s[1]
    assert ("train", "loss", 1) in found.index
    assert run.summary["ended"] == "all rounds done"
    assert run.manifest["flower"]["strategy"] == "FedAvg"


def test_replies_reach_the_strategy_in_the_order_of_arrival(tmp_path, scenario, local_grid, initial):
    seen = []

    class Watching(FedAvg):
        def aggregate_train(self, server_round, replies):
            replies = list(replies)
            seen.append([int(reply.content["metrics"]["num-examples"]) - 1 for reply in replies])
            return super().aggregate_train(server_round, replies)

    _, run = ride(scenario(), tmp_path / "a", Watching(), local_grid(), initial, rounds=1)
    assert seen == [list(run.clients.sort_values(["ended_s", "client"]).client)]
    assert run.clients.weight.isna().all()  # an aggregation of its own: its weights are not known


def test_the_same_run_under_other_node_ids_is_the_same(tmp_path, scenario, local_grid, initial):
    path, found = scenario(), []
    for name, seed in (("a", 1), ("b", 2)):
        grid = local_grid()
        grid.ids = random.Random(seed).sample(range(1, 2**62), 6)
        _, run = ride(path, tmp_path / name, FedAvg(fraction_train=0.5), grid, initial)
        found.append(run.clients)
        assert (run.rounds.selected == 3).all()
    assert found[0].equals(found[1])


def test_client_of_says_which_node_is_which(tmp_path, scenario, local_grid, initial):
    grid = local_grid()
    _, run = ride(
        scenario(),
        tmp_path / "a",
        FedAvg(),
        grid,
        initial,
        1,
        client_of=lambda n: 5 - grid.ids.index(n.node_id),
    )
    by_client = run.clients.set_index("client")
    assert [by_client.loss[c] for c in range(6)] == pytest.approx([1 / (6 - c) for c in range(6)])


def test_a_client_that_raises_or_is_silent_has_failed(tmp_path, scenario, local_grid, initial):
    def answer(client, message):
        if client == 0:
            raise ValueError("no data")
        return np.ones(2, np.float32), {"num-examples": 1}

    grid = local_grid(answer=answer, silent=(1,))
    strategy = FedAvg(fraction_evaluate=0.0)
    result, run = ride(scenario(), tmp_path / "a", strategy, grid, initial, rounds=2)
    by_client = run.clients[run.clients["round"] == 0].set_index("client")
    assert list(by_client.outcome.sort_index()) == ["failed"] * 2 + ["completed"] * 4
    assert list(run.rounds.failed) == [2, 2]
    (batch,) = run.batches("clients", ("loss",))
    assert batch.column("loss").null_count == len(run.clients)  # an app that reports no loss has none
    assert result.arrays["w"].numpy() == pytest.approx([1.0, 1.0])


def test_if_nobody_delivers_the_model_stays(tmp_path, scenario, local_grid, initial):
    path = scenario(close="{policy: deadline, after: 1s}")
    result, run = ride(path, tmp_path / "a", FedAvg(fraction_evaluate=0.0), local_grid(), initial)
    assert list(run.rounds.late) == [6, 6, 6]
    assert list(run.rounds.end_s) == [1.0, 2.0, 3.0]
    assert len(result.arrays) == 0


def test_a_strategy_that_asks_nobody_takes_no_time_and_says_so(tmp_path, scenario, local_grid, initial):
    class EverySecond(FedAvg):
        def configure_train(self, server_round, arrays, config, grid):
            messages = super().configure_train(server_round, arrays, config, grid)
            return messages if server_round % 2 else None

    _, run = ride(scenario(), tmp_path / "a", EverySecond(), local_grid(), initial, rounds=3)
    assert len(run.rounds) == 2
    assert run.summary["ended"] == "all rounds done; the strategy asked nobody in round 2 of the app"
    assert run.rounds.start_s[1] == run.rounds.end_s[0]


def test_a_strategy_that_waits_for_more_moves_the_simulated_clock(tmp_path, scenario, local_grid, initial):
    path = scenario(more=", availability: {kind: markov, mean_online: 2h, mean_offline: 2h}")
    _, run = ride(path, tmp_path / "a", FedAvg(min_train_nodes=6), local_grid(), initial, rounds=2)
    assert list(run.rounds.selected) == [6, 6]
    assert run.rounds.start_s[0] > 0.0 or run.rounds.start_s[1] > run.rounds.end_s[0]


def test_a_strategy_that_asks_again_and_again_is_taken_to_wait(tmp_path, scenario, local_grid, initial):
    class Patient(FedAvg):
        min_available_nodes = 0

        def configure_train(self, server_round, arrays, config, grid):
            while len(list(grid.get_node_ids())) < 7:
                pass
            raise AssertionError("there are only six")

    _, run = ride(scenario(), tmp_path / "a", Patient(), local_grid(), initial, rounds=2)
    assert len(run.rounds) == 0
    assert "for 30 days" in run.summary["ended"]


def test_an_app_and_a_fleet_of_different_sizes_are_told_apart(tmp_path, scenario, local_grid, initial):
    with pytest.raises(InputError, match="the app has 6 nodes and the scenario's fleet 4 clients"):
        ride(scenario(4), tmp_path / "a", FedAvg(), local_grid(6), initial)
    with pytest.raises(InputError, match=r"set fleet\.clients to 6"):
        ride(scenario(8), tmp_path / "a", FedAvg(), local_grid(6), initial, patience_s=0.01)
    with pytest.raises(InputError, match="FedAvg waits for 7 nodes and the fleet has 6 clients"):
        ride(scenario(), tmp_path / "a", FedAvg(min_available_nodes=7), local_grid(6), initial)
    assert not (tmp_path / "a").exists()
    changed = {"fleet.clients": 6}
    ride(scenario(8), tmp_path / "a", FedAvg(), local_grid(6), initial, rounds=1, changes=changed)


def test_what_cannot_be_is_said_in_one_sentence(tmp_path, scenario, local_grid, initial):
    with pytest.raises(InputError, match=r"rounds\.close\.policy: is 'async'"):
        ride(scenario(close="{policy: async, buffer: 2}"), tmp_path / "a", FedAvg(), local_grid(), initial)
    with pytest.raises(InputError, match="select is 'oort'"):
        Fleet(scenario(), select="oort")
    nested = Fleet(scenario()).wrap(FedAvg())
    with pytest.raises(InputError, match="outermost"):
        nested.configure_train(1, initial, None, local_grid())


def test_an_app_that_stops_leaves_a_finished_run_and_its_strategy_as_it_was(
    tmp_path, scenario, local_grid, initial
):
    class Bad(FedMedian):
        def configure_train(self, server_round, arrays, config, grid):
            if server_round == 2:
                raise KeyError("lost")
            return super().configure_train(server_round, arrays, config, grid)

    strategy = Bad()
    with pytest.raises(KeyError, match="lost"):
        ride(scenario(), tmp_path / "a", strategy, local_grid(), initial)
    run = fedsim.load(tmp_path / "a")
    assert run.summary["ended"] == "the app stopped: KeyError: 'lost'"
    assert len(run.rounds) == 1
    assert "configure_train" not in vars(strategy)
    with pytest.raises(RunError, match="only the app can"):
        execute.resume(tmp_path / "a")


def test_loss_weights_reach_the_run_directory(tmp_path, scenario, local_grid, initial):
    _, run = ride(scenario(), tmp_path / "a", LossWeighted(), local_grid(), initial, rounds=1)
    by_client = run.clients.set_index("client")
    raw = [math.exp(-1 / (c + 1)) for c in range(6)]
    assert [by_client.weight[c] for c in range(6)] == pytest.approx([r / sum(raw) for r in raw])


def test_a_report_is_written(tmp_path, scenario, local_grid, initial):
    strategy = Fleet(scenario(), out=tmp_path / "a").wrap(FedAvg())
    strategy.start(grid=local_grid(), initial_arrays=initial, num_rounds=2)
    assert strategy.run_dir == tmp_path / "a"
    assert (tmp_path / "a" / "report.html").is_file()
    assert (tmp_path / "a" / "timeline.json").is_file()


def test_a_loss_of_nan_is_told_in_every_table(tmp_path, scenario, local_grid, initial):
    def answer(client, message):
        return np.ones(2, np.float32), {"num-examples": 1, "train_loss": math.nan if client == 0 else 2.0}

    strategy = FedAvg(fraction_evaluate=0.0)
    _, run = ride(scenario(), tmp_path / "a", strategy, local_grid(answer=answer), initial, rounds=1)
    rows = [row for batch in run.batches("clients", ("client", "loss")) for row in batch.to_pylist()]
    told = {row["client"]: row["loss"] for row in rows}
    assert math.isnan(told.pop(0))
    assert set(told.values()) == {2.0}
    (mean,) = [v for batch in run.batches("rounds", ("loss",)) for v in batch.column("loss").to_pylist()]
    assert math.isnan(mean)
    assert run.summary["not_finite"]["losses"] == 1
