"""Figures of the summary that can be worked out by hand."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import textwrap
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsim.results import RunWriter, manifest, store
from fedsim.results.summary import gini


def test_gini_of_known_distributions():
    assert gini(np.array([3, 3, 3, 3])) == pytest.approx(0.0)
    assert gini(np.array([0, 0, 0, 8])) == pytest.approx(0.75)
    assert gini(np.array([1, 3])) == pytest.approx(0.25)
    assert math.isnan(gini(np.array([0, 0])))
    assert math.isnan(gini(np.array([], dtype=np.int64)))


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40))
def test_gini_is_the_mean_difference(counts):
    values = np.array(counts)
    if values.sum() == 0:
        return
    pairs = np.abs(values[:, None] - values[None, :]).mean()
    assert gini(values) == pytest.approx(pairs / (2 * values.mean()), abs=1e-12)


def clients(size, **over):
    base = {
        name: np.zeros(size)
        for name in (
            "dispatched_s",
            "download_s",
            "startup_s",
            "compute_s",
            "upload_s",
            "ended_s",
            "footprint_bytes",
            "available_bytes",
            "downloaded_bytes",
            "uploaded_bytes",
            "energy_j",
            "examples",
            "weight",
            "loss",
        )
    }
    base |= {
        "client": np.arange(size),
        "device": np.array(["pi"] * size),
        "outcome": np.array(["completed"] * size),
    }
    return base | over


def test_metrics_times_and_waiting_by_hand(tmp_path):
    with RunWriter(tmp_path / "run", "name: x\n", manifest("x", 1, 4, {})) as run:
        run.initial([("loss", "validation", 4.0), ("contrastive_accuracy", "validation", 0.01)])
        for index, (loss, accuracy) in enumerate([(3.0, 0.10), (2.0, 0.30), (2.5, 0.20)]):
            run.round(
                {"round": index, "start_s": 100.0 * index, "end_s": 100.0 * (index + 1)},
                clients(2, ended_s=100.0 * index + np.array([60.0, 100.0]), compute_s=np.array([50.0, 90.0])),
                [("loss", "validation", loss), ("contrastive_accuracy", "validation", accuracy)],
            )
        run.round({"round": 3, "start_s": 300.0, "end_s": 500.0}, clients(1, outcome=np.array(["oom"])))
        summary = run.finish("the server had enough")
    assert summary["ended"] == "the server had enough"
    assert summary["end_s"] == 500.0
    assert summary["mean_round_s"] == 125.0
    assert summary["longest_round_s"] == 200.0
    assert summary["metrics"]["validation"]["loss"] == {
        "first": 4.0,
        "last": 2.5,
        "best": 2.0,
        "first_s": 0.0,
        "last_s": 300.0,
        "best_s": 200.0,
        "best_round": 1,
        "values": 4,
    }
    assert summary["metrics"]["validation"]["contrastive_accuracy"]["best"] == 0.30
    assert summary["devices"]["pi"]["waiting_s"] == pytest.approx(3 * 40.0)
    assert summary["devices"]["pi"]["mean_compute_s"] == 70.0
    assert summary["participation"] == {"clients": 4, "selected": 2, "completed": 2, "most": 3, "gini": 0.5}
    assert summary["wasted_j_share"] is None


def test_who_trained_which_layers_by_hand(tmp_path):
    ways = ("all", "last:1", "head")
    with RunWriter(tmp_path / "run", "name: x\n", manifest("x", 1, 5, {}), techniques=ways) as run:
        run.note("layers", ["input", "1", "2", "head"])
        run.note("trains", {"all": ["input", "1", "head"], "last:1": ["2", "head"], "head": ["head"]})
        for index, (who, how, ends) in enumerate(
            [
                ([0, 1, 2], [0, 1, 1], ["completed", "completed", "oom"]),
                ([0, 1, 3], [1, 1, 0], ["completed", "completed", "late"]),
            ]
        ):
            rows = clients(3, client=np.array(who), technique=np.array(how), outcome=np.array(ends))
            run.round({"round": index, "start_s": 1.0 * index, "end_s": 1.0 + index}, rows)
        summary = run.finish()
    assert summary["techniques"] == {
        "all": {"client_rounds": 2, "completed": 1, "share": 0.25, "clients": 1},
        "last:1": {"client_rounds": 4, "completed": 3, "share": 0.75, "clients": 2},
    }
    assert summary["coverage"] == {
        "input": {"completed": 1, "clients": 1, "never": 4},  # client 0, in round 0
        "1": {"completed": 1, "clients": 1, "never": 4},
        "2": {"completed": 3, "clients": 2, "never": 3},  # clients 0 and 1
        "head": {"completed": 4, "clients": 2, "never": 3},
    }
    assert list(summary["coverage"]) == ["input", "1", "2", "head"]


@pytest.mark.parametrize("trains", [None, {"all": ["1"]}, [1, 2], "all", {"all": 7, "head": 8}])
def test_where_all_train_alike_or_nobody_says_what_nothing_is_said(tmp_path, trains):
    with RunWriter(tmp_path / "run", "name: x\n", manifest("x", 1, 2, {})) as run:
        run.note("layers", ["1", "head"])
        run.note("trains", trains)
        run.round({"round": 0, "start_s": 0.0, "end_s": 1.0}, clients(2))
        summary = run.finish()
    assert "coverage" not in summary
    assert "techniques" not in summary


def test_an_empty_run_has_a_summary(tmp_path):
    with RunWriter(tmp_path / "run", "name: x\n", manifest("x", 1, 4, {})) as run:
        summary = run.finish("nobody was ever online")
    assert summary["rounds"] == 0
    assert summary["end_s"] == 0.0
    assert summary["mean_round_s"] is None
    assert summary["participation"]["gini"] is None
    assert summary["devices"] == {}


def test_memory_does_not_grow_with_the_rounds(tmp_path):
    held, log = [], tmp_path / "run" / "parts" / "rounds.sqlite-wal"
    with RunWriter(tmp_path / "run", "name: x\n", manifest("x", 1, 2000, {})) as run:
        tracemalloc.start()
        for index in range(150):  # a round takes 0.3 MB
            run.round({"round": index, "start_s": float(index), "end_s": index + 1.0}, clients(2000))
            held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert log.stat().st_size < 2 * store.LOG_PAGES * 4096
        run.finish()
    assert max(held) < 1_000_000


LARGE = """
    import resource, sys
    sys.path.insert(0, {tests!r})
    from test_results_summary import clients
    from fedsim.results import RunWriter, manifest
    with RunWriter({path!r}, "name: x\\n", manifest("x", 1, 20_000, {{}})) as run:
        for index in range({rounds}):
            run.round({{"round": index, "start_s": float(index), "end_s": index + 1.0}}, clients(20_000))
        run.finish()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_ten_million_client_rounds_fit_into_bounded_memory(tmp_path):
    def peak_kb(rounds):
        code = LARGE.format(
            tests=os.fspath(Path(__file__).parent), path=os.fspath(tmp_path / str(rounds)), rounds=rounds
        )
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, check=True)
        return int(done.stdout)

    assert peak_kb(500) < peak_kb(50) + 150_000
