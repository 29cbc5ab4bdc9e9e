"""Clients that train different parts of one model for real: the same bytes however it is run."""

import pytest

from fedsim import results
from fedsim.scenario import load
from fedsim.simulation import execute

TEXT = """
seed: 3
fleet:
  clients: 12
  mix:
    - {device: jetson-xavier-nx, share: 0.5, link: wifi, training: {train: last:1}}
    - {device: jetson-agx-xavier, share: 0.5, link: ethernet}
workload: {utterances: 8, max_seconds: 5}
training:
  model: wav2vec2-tiny
  schedule:
    - {rounds: 1, train: {layer: {layer: 1, head: true}}, depth: 1}
    - {rounds: 1, depth: 2}
    - {train: all}
rounds: {count: 4, cohort: 4, close: {policy: async, buffer: 3}, aggregate: fedavg}
learning:
  corpus: {speakers: 6, minutes: 1}
  clients_per_round: 3
  local_steps: 1
  batch_size: 2
  crop_seconds: 1.0
  evaluation_seconds: 4
"""
TABLES = ("rounds.parquet", "clients.parquet", "convergence.parquet", "summary.json")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("FEDSIM_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def tables(directory):
    return {name: (directory / name).read_bytes() for name in TABLES}


def test_the_same_bytes_on_two_workers_and_after_a_resume_and_the_same_times_without_learning(
    tmp_path, stop_after
):
    file = tmp_path / "it.yaml"
    file.write_text(TEXT)
    scenario = load(file)
    whole = tables(execute.run(scenario, tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        execute.run(scenario, tmp_path / "cut", progress=stop_after(2), workers=2)
    assert tables(execute.resume(tmp_path / "cut", workers=2)) == whole
    run = results.load(tmp_path / "whole")
    ways = {
        "layer:1 and head, depth 1",
        "all, depth 2",
        "all",
        "last:1, depth 1",
        "last:1, depth 2",
        "last:1",
    }
    assert set(run.clients.technique) <= ways
    assert len(set(run.clients.technique)) > 3
    assert run.convergence.query("metric == 'loss' and split == 'validation'").value.notna().all()
    timed = results.load(execute.run(load(file, ["learning=null"]), tmp_path / "timed")).clients
    same = [name for name in timed.columns if name not in ("weight", "loss", "examples")]
    assert run.clients[same].equals(timed[same])
