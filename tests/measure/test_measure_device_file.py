"""The device file that is written: fedsim reads it back, and a fault is one sentence."""

import csv
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsim.errors import HardwareError
from fedsim.hardware import load_device
from fedsim.hardware.rates import KINDS
from fedsim.measure import device_file
from fedsim.measure.device_file import COLUMNS, Circumstances, raw_path, write
from fedsim.measure.host import Host
from fedsim.measure.rates import HostRates, Probes
from fedsim.pricing import Technique, load_trace
from fedsim.pricing.pricer import Pricer

HOST = Host(
    title="Some Processor, 2 threads",
    memory_bytes=25_276_510_208,
    memory_shared=True,
    system_bytes=562_265_600,
    runtime_bytes=384_249_856,
    idle_w=5.0,
    active_w=21.0,
    precisions=("fp32",),
)
FLOPS = {"conv": 52.516e9, "grouped_conv": 41.7e9, "matmul": 82.8e9, "attention": 98.548e9}
RATES = HostRates(
    launch_s=19.4123e-6,
    bandwidth_bytes_per_s=4.41678e9,
    optimizer_bytes_per_s=24.6189e9,
    flops_per_s={"fp32": FLOPS},
    peak_bandwidth_bytes_per_s=24.6189e9,
    peak_flops_per_s={"fp32": 98.548e9},
)
PROBES = Probes(19.4e-6, 24.6189e9, 22e9, {"fp32": 90e9})
WHEN = Circumstances(
    device="cpu",
    date="2026-01-31",
    torch="2.13.0",
    transformers="5.23.0",
    threads=2,
    clock="wall time",
    model="wav2vec2-base",
    settings="1 x 4 s",
)


@pytest.fixture
def written(tmp_path, made):
    timed = [made.timed("matmul", 2e9, [0.5, 0.25, 0.125], count=12)]
    return write(tmp_path / "mine.yaml", HOST, RATES, PROBES, timed, WHEN)


def test_it_is_a_device_like_any_other(written):
    device = load_device(str(written[0]))
    assert (device.name, device.family, device.backend) == ("mine", "host", "cpu")
    assert device.title == "Some Processor, 2 threads"
    assert device.released == 2026
    assert device.memory_bytes == 25_276_510_208
    assert device.system_bytes == 562_265_600
    assert device.runtime_bytes == 384_249_856
    assert device.training_precisions == ("fp32",)


def test_rates_are_rounded_down_and_peaks_up(written):
    device = load_device(str(written[0]))
    rates = device.measured_rates
    assert rates.launch_s == pytest.approx(19.42e-6)
    assert rates.bandwidth_bytes_per_s == pytest.approx(4.416e9)
    assert rates.optimizer_bytes_per_s == pytest.approx(24.61e9)
    assert rates.flops_per_s["fp32"]["conv"] == pytest.approx(52.51e9)
    assert rates.flops_per_s["fp32"]["attention"] == pytest.approx(98.54e9)
    assert device.peak_flops_per_s["fp32"] == pytest.approx(98.55e9)
    assert device.memory_bandwidth_bytes_per_s == pytest.approx(24.62e9)


def test_sources_say_when_and_with_what(written):
    device = load_device(str(written[0]))
    said = "measured by fedsim calibrate on 2026-01-31, torch 2.13.0, 2 threads, wall time"
    assert device.source_of("rates").startswith(said)
    assert "mine-operators.csv" in device.source_of("rates")
    assert "the best rate seen" in device.source_of("compute.fp32")
    assert "estimated" in device.source_of("power.idle")


def test_a_step_is_priced_by_these_rates(written):
    device = load_device(str(written[0]))
    pricer = Pricer(device, load_trace("wav2vec2-base"), Technique())
    assert pricer.calibration.status == "measured"
    features = pricer.work.features(1, 48_000)
    seconds = [19.42e-6, 1 / 52.51e9, 1 / 41.7e9, 1 / 82.8e9, 1 / 98.54e9, 0, 1 / 4.416e9, 1 / 24.61e9, 0]
    assert float(pricer.step_s(1, 48_000)) == pytest.approx(float(features @ seconds))


def test_raw_times_stand_beside_it(written):
    assert written[1] == raw_path(written[0])
    lines = written[1].read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# measured by fedsim calibrate on 2026-01-31")
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    assert tuple(rows[0]) == COLUMNS
    assert rows[0]["operator"] == "aten.mul.Tensor"
    assert rows[0]["shapes"] == "float32[2x3] float32[2x3]"
    numbers = [rows[0][k] for k in ("count", "flops", "runs", "median_s", "best_s")]
    assert [float(n) for n in numbers] == [12, 2e9, 3, 0.25, 0.125]


def test_no_draft_is_left_and_an_old_file_gives_way(written, tmp_path):
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine-operators.csv", "mine.yaml"]
    before = written[0].read_text(encoding="utf-8")
    write(written[0], HOST, RATES, PROBES, [], WHEN)
    assert written[0].read_text(encoding="utf-8") == before
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_that_would_not_load_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(device_file, "as_yaml", lambda *rest: "title: nothing else\n")
    with pytest.raises(HardwareError, match="missing"):
        write(tmp_path / "mine.yaml", HOST, RATES, PROBES, [], WHEN)
    assert list(tmp_path.iterdir()) == []


def test_a_gpu_has_a_peak_and_rates_for_each_precision(tmp_path):
    from dataclasses import replace

    gpu = replace(HOST, title="Some GPU", memory_shared=False, system_bytes=0, precisions=("fp32", "mixed"))
    rates = replace(
        RATES,
        flops_per_s={"fp32": FLOPS, "mixed": dict.fromkeys(KINDS, 300e9)},
        peak_flops_per_s={"fp32": 98.548e9, "mixed": 400e9},
    )
    path, _ = write(tmp_path / "gpu.yaml", gpu, rates, PROBES, [], replace(WHEN, device="cuda"))
    device = load_device(str(path))
    assert device.backend == "cuda"
    assert device.training_precisions == ("fp32", "mixed")
    assert device.peak_flops_per_s == {"fp32": pytest.approx(98.55e9), "fp16": pytest.approx(400e9)}
    assert device.measured_rates.flops_per_s["mixed"]["conv"] == pytest.approx(300e9)
    assert "CUDA" in device.source_of("rates")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("mine.json", "ends in .yaml"),
        ("nowhere/mine.yaml", "there is no folder"),
        ("folder.yaml", "it is a folder"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_before_measuring(tmp_path, name, sentence):
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(HardwareError, match=sentence):
        device_file.check_writable(tmp_path / name)


def test_a_disk_that_refuses_is_one_sentence():
    with pytest.raises(HardwareError, match="cannot be written"):
        device_file.check_writable(device_file.Path("/proc/mine.yaml"))


@given(st.floats(1e3, 1e14), st.floats(1e-3, 1e3))
def test_rounding_goes_one_way_and_not_far(value, unit):
    down = float(device_file._rounded(value, unit, "", math.floor)) * unit
    up = float(device_file._rounded(value, unit, "", math.ceil)) * unit
    assert value * 0.998 < down <= value * (1 + 1e-6)
    assert value * (1 - 1e-6) <= up < value * 1.002
    assert down <= up
