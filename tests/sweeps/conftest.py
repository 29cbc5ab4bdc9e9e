"""Small sweeps: a handful of points of a few rounds."""

import pytest

TIMING = """
name: small
seed: 3
hardware: {trend: gao2022}
fleet:
  clients: 30
  mix:
    - {device: jetson-xavier-nx, share: 0.5, link: wifi, speed_spread: 0.1}
    - {device: raspberry-pi-4, share: 0.5, link: lte}
rounds: {count: 3, cohort: 6, close: {policy: deadline, after: 20min}}
"""
LEARNING = """
name: learnt
seed: 3
hardware: {trend: gao2022}
fleet:
  clients: 8
  mix:
    - {device: jetson-xavier-nx, share: 1.0, link: instant}
workload: {utterances: 40, max_seconds: 8}
rounds: {count: 3, cohort: 4, aggregate: loss-weighted}
server: {uplink: unlimited, downlink: unlimited}
learning:
  corpus: {speakers: 6, minutes: 1}
  clients_per_round: 2
  local_steps: 1
  batch_size: 2
  crop_seconds: 1.0
  evaluation_seconds: 4
"""
GRID = "sweep: {hardware.year: [2022, 2030], training.batch_size: [2, 4]}\n"
YEARS = "sweep: {hardware.year: [2022, 2026, 2030]}\n"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("FEDSIM_CACHE", str(tmp_path_factory.getbasetemp() / "sweep-cache"))


@pytest.fixture
def sweep_of(tmp_path):
    """Load a sweep from text, or from a scenario's text and a sweep block's."""
    from fedsim.scenario import sweep

    def make(text, block="", overrides=()):
        file = tmp_path / "it.yaml"
        file.write_text(text + block)
        return sweep.load(file, overrides)

    return make
