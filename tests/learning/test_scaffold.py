"""SCAFFOLD as the guide shows it: a plug-in whose clients and server remember something."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from guide import copied

from fedsim import plugins
from fedsim.learning import Federation, Learning, make_learner
from fedsim.learning.aggregate import Aggregation
from fedsim.learning.aggregate.uniform import Uniform
from fedsim.tasks import Task

CLIENTS = 8


@pytest.fixture
def plugged(tmp_path):
    """The guide's rule and task, by their class names."""
    found = {}
    for name, base in (("scaffold", Aggregation), ("perceptron", Task)):
        before = set(plugins.of(base))
        plugins.load(copied(f"{name}.py", tmp_path))
        (found[name],) = set(plugins.of(base)) - before
    return found


def federation(plugged, aggregate):
    learning = Learning(
        task=plugged["perceptron"](hidden=4),
        clients_per_round=4,
        local_steps=3,
        optimizer="sgd",
        learning_rate=0.05,
        warmup_rounds=0,
        clip_norm=1e9,
        checkpoint_every=1,
    )
    return Federation(learning=learning, clients=CLIENTS, rounds=5, aggregate=aggregate)


def rounds(learner, numbers):
    for r in numbers:
        clients = (np.arange(4) + 3 * r) % CLIENTS
        learner.train(r, clients, np.full(4, r))


def remembered(learner):
    """The bytes of the model and of everything that server and clients keep."""
    kept = {c: {name: v.tobytes() for name, v in own.items()} for c, own in learner._kept.items()}
    return learner.weights().tobytes(), learner._server.control.tobytes(), kept


def test_the_first_round_is_the_plain_mean_and_later_ones_are_not(plugged):
    seen = []
    for rule in (plugged["scaffold"](), Uniform()):
        with make_learner(federation(plugged, rule), 3) as learner:
            learner.initial_metrics()
            rounds(learner, [0])
            first = learner.weights()
            rounds(learner, [1, 2])
            seen.append((first, learner.weights()))
    assert (seen[0][0] == seen[1][0]).all()
    assert (seen[0][1] != seen[1][1]).any()


def test_the_servers_variate_is_the_mean_of_the_clients(plugged):
    with make_learner(federation(plugged, plugged["scaffold"]()), 3) as learner:
        learner.initial_metrics()
        begin = learner.weights().astype(np.float64)
        rounds(learner, [0])
        control = learner._server.control
        # c = sum of (x - y_i) / (K eta) over those asked, over all clients; the step is the mean of y_i - x
        step = learner.weights() - begin
        assert control == pytest.approx(-step * 4 / CLIENTS / (3 * 0.05), abs=1e-5)
        rounds(learner, [1, 2])
        kept = sum(kept["control"].astype(np.float64) for kept in learner._kept.values())
        assert learner._server.control == pytest.approx(kept / CLIENTS, abs=1e-12)


def test_a_client_that_delivers_twice_in_a_round_counts_once_each(plugged):
    with make_learner(federation(plugged, plugged["scaffold"]()), 3) as learner:
        learner.initial_metrics()
        learner.train(0, np.array([2, 2, 5]), np.zeros(3))
        kept = sum(kept["control"].astype(np.float64) for kept in learner._kept.values())
        assert sorted(learner._kept) == [2, 5]
        assert learner._server.control == pytest.approx(kept / CLIENTS, abs=1e-12)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_resume_has_the_same_bytes_on_any_number_of_workers(plugged, tmp_path, workers):
    asked = federation(plugged, plugged["scaffold"]())
    with make_learner(asked, 3, 1, tmp_path / "whole") as learner:
        learner.initial_metrics()
        rounds(learner, range(4))
        whole = remembered(learner)
    with make_learner(asked, 3, workers, tmp_path / "cut") as learner:
        learner.initial_metrics()
        rounds(learner, range(2))
    with make_learner(asked, 3, workers, tmp_path / "cut") as learner:
        assert learner.restore() == 2
        rounds(learner, range(2, 4))
        assert remembered(learner) == whole


@pytest.mark.parametrize(("verb", "said"), [("sends", ()), ("keeps", ("control", "momentum"))])
def test_a_rule_that_does_other_than_it_says_is_refused(plugged, verb, said):
    from fedsim.errors import FedsimError

    other = type("Other", (plugged["scaffold"],), {verb: said})
    with make_learner(replace(federation(plugged, other()), rounds=1), 3) as learner:
        learner.initial_metrics()
        with pytest.raises(FedsimError, match=rf"scaffold {verb} \['control'\] and says \["):
            rounds(learner, [0])


def test_what_travels_beside_the_model_takes_time(plugged, tmp_path):
    from fedsim import scenario
    from fedsim.scenario.file_access import ANYWHERE
    from fedsim.simulation.compose import compose

    def world(rule):
        data = {
            "fleet": {"clients": 8, "mix": [{"device": "raspberry-pi-4", "share": 1.0}]},
            "rounds": {"count": 1, "cohort": 2, "aggregate": rule, "compression": "fp16"},
        }
        return compose(scenario.build(data, tmp_path / "x.yaml", ANYWHERE)).world

    plain, both = world("uniform"), world("scaffold")
    assert (both.down_bytes == 2.0 * plain.down_bytes).all()
    assert (both.up_bytes == (0.5 + 1.0) * plain.down_bytes[0]).all()
