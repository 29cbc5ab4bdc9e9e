"""A Mac's GPU, on a backend that only pretends to be one: nobody has run this on a Mac."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from test_measure_device_file import HOST, PROBES, RATES, WHEN

from fedsim.cli import main
from fedsim.hardware import load_device
from fedsim.measure import calibrate as measuring
from fedsim.measure import device_file, host, probes, stopwatch


class Metal:
    """What PyTorch documents of ``torch.mps``: work is queued, and done when somebody waits for it."""

    def __init__(self):
        self.queued, self.done, self.waits = 0, 0, 0

    def work(self):
        self.queued += 1

    def synchronize(self):
        self.waits += 1
        self.done, self.queued = self.done + self.queued, 0

    def driver_allocated_memory(self):
        return 700

    def current_allocated_memory(self):
        return 200


@pytest.fixture
def metal(monkeypatch):
    fake = Metal()
    monkeypatch.setattr(torch, "mps", fake)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    return fake


def test_the_stopwatch_waits_for_what_was_queued_before_and_for_its_own(metal, monkeypatch):
    metal.work()  # by somebody else, before
    clock = iter([10.0, 13.0])

    def now():
        assert metal.queued == 0  # nothing is under way when the time is read
        return next(clock)

    monkeypatch.setattr(stopwatch, "time", SimpleNamespace(perf_counter=now))
    watch = stopwatch.stopwatch("mps", 4)
    assert watch.seconds(metal.work) == 3.0 / watch.runs
    assert (metal.done, metal.waits) == (1 + watch.runs, 2)


@pytest.mark.parametrize(("device", "waits"), [("mps", 1), ("cpu", 0)])
def test_waiting_is_for_the_device_that_is_asked_for(metal, device, waits):
    stopwatch.wait(device)
    assert metal.waits == waits


def test_launches_are_timed_to_their_end(metal, monkeypatch):
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, device: self)
    monkeypatch.setattr(torch, "zeros", lambda *shape, device: torch.ones(shape))
    assert probes.launch_s("mps", stopwatch.WallStopwatch(), runs=2) > 0
    assert metal.waits == 3  # each step and the one that warms up


def test_without_a_mac_it_is_one_sentence(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(SystemExit) as end:
        main(["calibrate", "--device", "mps", "--out", str(tmp_path / "a.yaml")])
    said = capsys.readouterr().err
    assert (end.value.code, said.count("\n")) == (2, 1)
    assert "--device mps: there is no Mac's GPU here" in said


def test_a_mac_shares_its_memory_and_has_what_metal_holds(metal, monkeypatch):
    asked = []
    monkeypatch.setattr(host, "_ask", lambda script: asked.append(script) or 1234)
    assert measuring.check("mps", 1) == 1
    found = host.describe("mps", 1)
    assert (found.memory_shared, found.runtime_bytes, found.precisions) == (True, 1234, ("fp32",))
    assert found.title.endswith("GPU by way of Metal")
    assert "driver_allocated_memory() - torch.mps.current_allocated_memory()" in asked[0]


def test_what_metal_holds_beyond_tensors_is_of_the_runtime(metal):
    script = (
        host._METAL.replace('.to("mps")', "").replace(', device="mps"', "").replace("print(", "found = (")
    )
    space = {}
    exec(script, space)
    assert space["beyond"] == 500
    assert space["found"] > 500


def test_the_device_file_executes_as_a_cpu_and_says_metal(tmp_path):
    path, _ = device_file.write(tmp_path / "mac.yaml", HOST, RATES, PROBES, [], replace(WHEN, device="mps"))
    device = load_device(str(path))
    assert device.backend == "cpu"
    assert "Metal (MPS)" in device.source_of("rates")
    assert "what Metal holds beyond tensors" in device.source_of("memory.runtime")
