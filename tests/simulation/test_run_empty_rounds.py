"""Rounds in which nobody completes: the model stays as it was, and convergence ends at the last round."""

import pytest

from fedsim import results
from fedsim import simulation as run
from fedsim.scenario import load

SCENARIO = """
seed: 3
fleet:
  clients: 6
  mix:
    - device: jetson-agx-xavier
      share: 1.0
      link: wifi
      pressure: {kind: trace, file: memory.csv, clients: repeat}
workload: {utterances: 20}
rounds: {count: 5, cohort: 3, aggregate: fedadam}
learning:
  corpus: {speakers: 6, minutes: 1}
  clients_per_round: 2
  local_steps: 1
  batch_size: 2
  crop_seconds: 1.0
  evaluation_seconds: 4
  evaluate_every: 3
"""


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("FEDSIM_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def test_convergence_ends_at_the_last_round_though_nobody_completes_it(tmp_path):
    # Memory is free for the first two rounds only: everything is taken from round 2 on.
    (tmp_path / "memory.csv").write_text("client,start_s,end_s,bytes\n0,0,1,0\n")
    (tmp_path / "it.yaml").write_text(SCENARIO)
    free = results.load(run.run(load(tmp_path / "it.yaml"), tmp_path / "free")).rounds
    assert (free["completed"] == 3).all()
    begin = free["start_s"][2]
    (tmp_path / "memory.csv").write_text(f"client,start_s,end_s,bytes\n0,{begin},1e9,17e9\n")
    short = results.load(run.run(load(tmp_path / "it.yaml"), tmp_path / "short"))
    assert short.rounds["oom"].tolist() == [0, 0, 3, 3, 3]
    assert short.rounds["loss"].isna().tolist() == [False, False, True, True, True]
    held_out = short.convergence[
        (short.convergence["metric"] == "loss") & (short.convergence["split"] == "validation")
    ]
    assert held_out["round"].tolist() == [-1, 2, 4]
    assert held_out["time_s"].iloc[-1] == short.rounds["end_s"].iloc[-1]
    # Rounds 2 to 4 brought nothing: the model that is evaluated is one and the same.
    assert short.rounds["completed"].tolist() == [3, 3, 0, 0, 0]
    assert held_out["value"].iloc[-1] == held_out["value"].iloc[-2] != held_out["value"].iloc[0]
