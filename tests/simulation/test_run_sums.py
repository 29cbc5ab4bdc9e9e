"""Rows of a run add up: clients to rounds, rounds to the summary, whatever the scenario."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedsim import results
from fedsim import simulation as run
from fedsim.outcomes import OUTCOMES
from fedsim.scenario import load

SCENARIO = """
fleet:
  clients: 40
  mix:
    - {device: jetson-agx-xavier, share: 0.25, link: 5g, speed_spread: 0.2, crashes_per_day: 200}
    - {device: raspberry-pi-4, share: 0.25, link: ethernet, memory_spread: 0.1}
    - device: macbook-pro-2019
      share: 0.5
      link: lte
      availability: {kind: markov, mean_online: 20min, mean_offline: 20min}
      pressure: laptop
      battery: {capacity: 5Wh, plugged: never}
workload: {utterances: 40}
"""
ROUNDS = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 1000),
        "rounds.count": st.integers(1, 8),
        "rounds.cohort": st.integers(1, 60),
        "rounds.select": st.sampled_from(["random", "round-robin", "fastest-first", "memory-aware", "oort"]),
        "rounds.close": st.sampled_from(
            [
                "wait-all",
                "{policy: deadline, after: 3min}",
                "{policy: quorum, over: 0.5, after: 1h}",
                "{policy: async, buffer: 4}",
            ]
        ),
        "server.downlink": st.sampled_from(["100Mbps", "1Gbps", "1000Gbps"]),
    }
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=ROUNDS)
def test_rows_add_up_to_rounds_and_rounds_to_the_summary(tmp_path_factory, changes):
    folder = tmp_path_factory.mktemp("sums")
    (folder / "it.yaml").write_text(SCENARIO)
    made = run.run(load(folder / "it.yaml", [f"{k}={v}" for k, v in changes.items()]), folder / "run")
    found, summary = results.load(made), json.loads((made / "summary.json").read_text())
    rounds, clients = found.rounds.set_index("round"), found.clients
    by_round = clients.groupby("round")
    assert by_round.size().to_dict() == rounds["selected"].to_dict()
    for outcome in OUTCOMES:
        counted = (clients["outcome"] == outcome).groupby(clients["round"]).sum()
        assert counted.to_dict() == rounds[outcome].to_dict(), outcome
        assert summary["outcomes"][outcome] == int(rounds[outcome].sum())
    assert (rounds[list(OUTCOMES)].sum(axis=1) == rounds["selected"]).all()
    spent = {
        "energy_j": clients["energy_j"],
        "downloaded_bytes": clients["downloaded_bytes"],
        "uploaded_bytes": clients["uploaded_bytes"],
        "wasted_j": clients["energy_j"].where(clients["outcome"] != "completed", 0.0),
        "wasted_s": (clients["ended_s"] - clients["dispatched_s"]).where(
            clients["outcome"] != "completed", 0.0
        ),
    }
    for name, column in spent.items():
        of_rounds = column.groupby(clients["round"]).sum().to_numpy()
        assert of_rounds == pytest.approx(rounds[name].to_numpy(), rel=1e-9, abs=1e-5), name

        assert summary[name] == pytest.approx(column.sum(), rel=1e-9, abs=1e-5), name
    assert summary["rounds"] == len(rounds)
    assert np.diff(rounds["end_s"]).min(initial=0.0) >= 0.0
    assert summary["end_s"] == rounds["end_s"].iloc[-1]
