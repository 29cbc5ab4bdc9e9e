"""``fedsim calibrate`` as a shell sees it, and one real measurement of a few seconds."""

import os

import pytest
import torch

from fedsim.cli import main
from fedsim.errors import HardwareError
from fedsim.hardware import load_device
from fedsim.measure import calibrate as measuring
from fedsim.measure import device_file, host
from fedsim.measure.timing import Setting
from fedsim.pricing import Technique, load_trace
from fedsim.pricing.pricer import Pricer


def refused(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(["calibrate", *arguments])
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    return end.value.code, said


def test_cuda_without_a_gpu_is_one_sentence(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    code, said = refused(["--device", "cuda", "--out", str(tmp_path / "a.yaml")], capsys)
    assert code == 2
    assert "--device cuda: there is no GPU here" in said
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_sentence(capsys, tmp_path):
    code, said = refused(["--out", str(tmp_path / "no" / "a.yaml")], capsys)
    assert code == 2
    assert "there is no folder" in said


def test_more_threads_than_processors_are_refused(capsys, tmp_path):
    code, said = refused(["--threads", "9999", "--out", str(tmp_path / "a.yaml")], capsys)
    assert code == 2
    assert "--threads 9999 is more than the" in said


def test_threads_are_the_users_or_those_of_torch():
    assert measuring.check("cpu", 1) == 1
    most = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert 1 <= measuring.check("cpu", None) <= most
    with pytest.raises(HardwareError, match=f"at most {most}"):
        measuring.check("cpu", most + 1)


def test_the_settings_are_none_of_those_that_are_validated():
    import runpy
    from pathlib import Path

    script = Path(__file__).resolve().parents[2] / "analysis" / "validate_host.py"
    validated = runpy.run_path(str(script))["SETTINGS"]
    lengths = [seconds for settings in validated.values() for _, _, seconds, *_ in settings]
    assert {s.seconds for s in measuring.SETTINGS}.isdisjoint(lengths)


def test_a_process_that_fails_says_why():
    with pytest.raises(host.FedsimError, match="ValueError: no such luck"):
        host._ask("raise ValueError('no such luck')")
    assert host._ask("print('noise'); print(42)") == 42


def test_the_processor_has_a_name_and_the_machine_none():
    assert host.processor()
    assert os.uname().nodename not in host.processor()


@pytest.mark.slow
def test_a_real_calibration_gives_a_device_that_prices_steps(tmp_path):
    before = torch.get_num_threads()
    try:
        found = measuring.calibrate("cpu", 1, 0.02, settings=(Setting(2, 1.0),), model="wav2vec2-tiny")
    finally:
        torch.set_num_threads(before)
    path, raw = device_file.write(
        tmp_path / "here.yaml", found.host, found.rates, found.probes, found.timed, found.circumstances
    )
    device = load_device(str(path))
    assert raw.is_file()
    assert device.runtime_bytes > 100e6
    assert 0.5 < device.startup_s < 300
    assert 0 < device.measured_rates.launch_s < 0.01
    for rate in device.measured_rates.flops_per_s["fp32"].values():
        assert 1e7 < rate <= device.peak_flops_per_s["fp32"]
    pricer = Pricer(device, load_trace("wav2vec2-tiny"), Technique())
    assert 0 < float(pricer.step_s(2, 16_000)) < 60
