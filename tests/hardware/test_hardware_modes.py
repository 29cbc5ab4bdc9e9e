"""Power modes: NAME@MODE is the board with fewer cores, slower clocks and less power."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedsim.cli import main
from fedsim.errors import HardwareError
from fedsim.hardware import catalogue, load_device
from fedsim.pricing.calibration import calibrate

WITH_MODES = [device for device in catalogue() if device.modes]

BOARD = """\
title: A board
family: jetson
released: 2020
backend: cuda
memory: {capacity: 8GiB, shared: true, bandwidth: 59.7GB/s, system: 1GiB, runtime: 1GiB}
compute: {fp32: 1TFLOP/s, fp16: 8TFLOP/s, trains_in: [fp32, mixed]}
power: {idle: 4W, active: 15W}
modes:
  15W: {active: 15W, clock: 1GHz, cores: 500}
  10W: {active: 10W, clock: 500MHz, cores: 250, bandwidth: 30GB/s}
sources: {released: a page, memory: a data sheet, compute: a data sheet, power: a data sheet, modes: a guide}
"""


@pytest.mark.parametrize(
    ("name", "cores", "ghz", "watts"),
    [
        ("jetson-agx-orin-64gb@50W", 8 * 256, 0.816, 50),
        ("jetson-agx-orin-64gb@30W", 4 * 256, 0.612, 30),
        ("jetson-agx-orin-64gb@15W", 3 * 256, 0.408, 15),
        ("jetson-agx-orin-32gb@30W", 4 * 256, 0.612, 30),
        ("jetson-orin-nano-super@15W", 4 * 256, 0.612, 15),
        ("jetson-thor@120W", 10 * 256, 1.386, 120),
        ("jetson-xavier-nx@20W", 3 * 128, 1.1, 20),
        ("jetson-xavier-nx@10W", 3 * 128, 0.803, 10),
        ("jetson-orin-nx@25W", 4 * 256, 0.408, 25),
        ("jetson-orin-nx@15W", 2 * 256, 0.612, 15),
        ("jetson-orin-nx@10W", 2 * 256, 0.612, 10),
        ("jetson-orin-nano@7W", 2 * 256, 0.408, 7),
        ("jetson-agx-orin-32gb@40W", 7 * 256, 0.816, 40),
        ("jetson-agx-xavier@15W", 4 * 128, 0.67, 15),
        ("jetson-agx-xavier@10W", 2 * 128, 0.52, 10),
        ("jetson-tx2@MAX-P", 256, 1.12, 15),
        ("jetson-tx2@MAX-Q", 256, 0.85, 7.5),
        ("jetson-nano@5W", 128, 0.64, 5),
    ],
)
def test_a_modes_peak_is_cores_times_clock_times_two(name, cores, ghz, watts):
    device = load_device(name)
    assert device.peak_flops_per_s["fp32"] == pytest.approx(cores * ghz * 1e9 * 2, rel=0.01)
    assert device.active_w == watts
    assert device.name == name


def test_tensor_cores_follow_the_cores_they_sit_beside():
    # 4 of 8 TPCs, each with 8 tensor cores of 256 multiply-adds in fp16 and 128 in TF32.
    peaks = load_device("jetson-agx-orin-64gb@30W").peak_flops_per_s
    assert peaks["fp16"] == pytest.approx(4 * 8 * 256 * 0.612e9 * 2, rel=0.01)
    assert peaks["tf32"] == pytest.approx(4 * 8 * 128 * 0.612e9 * 2, rel=0.01)


@pytest.mark.parametrize("device", WITH_MODES, ids=lambda d: d.name)
def test_the_first_mode_is_the_device_itself_and_none_is_faster(device):
    first = load_device(f"{device.name}@{device.modes[0]}")
    assert first.peak_flops_per_s == pytest.approx(device.peak_flops_per_s)
    assert first.active_w == device.active_w
    for name in device.modes:
        mode = load_device(f"{device.name}@{name}")
        assert mode.peak_flops_per_s["fp32"] <= device.peak_flops_per_s["fp32"] * 1.001
        assert mode.memory_bandwidth_bytes_per_s <= device.memory_bandwidth_bytes_per_s
        assert (mode.memory_bytes, mode.system_bytes) == (device.memory_bytes, device.system_bytes)


def test_a_mode_has_the_efficiency_of_its_board():
    board, slower = load_device("jetson-xavier-nx"), load_device("jetson-xavier-nx@10W")
    rates = calibrate(board).rates["fp32"], calibrate(slower).rates["fp32"]
    share = slower.peak_flops_per_s["fp32"] / board.peak_flops_per_s["fp32"]
    assert rates[1].matmul_flops_per_s == pytest.approx(rates[0].matmul_flops_per_s * share)
    assert rates[1].conv_flops_per_s == pytest.approx(rates[0].conv_flops_per_s * share)
    assert calibrate(slower).plan == "what jetson-xavier-nx has, in another power mode"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("jetson-agx-orin-64gb@33W", "give one of MAXN, 50W, 30W, 15W"),
        ("jetson-tx2@15W", "give one of MAX-N, MAX-P, MAX-Q"),
        ("nvidia-a40@200W", "it has none"),
    ],
)
def test_an_unknown_mode_is_one_sentence_that_lists_those_there_are(capsys, name, said):
    with pytest.raises(HardwareError, match=said):
        load_device(name)
    with pytest.raises(SystemExit) as end:
        main(["devices", name])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_path_takes_no_mode(tmp_path: Path):
    path = tmp_path / "board.yaml"
    path.write_text(BOARD)
    assert load_device(str(path)).modes == ("15W", "10W")
    with pytest.raises(HardwareError, match="there is no device"):
        load_device(f"{path}@10W")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("clock: 1GHz", "clock: 0.5GHz", "give the mode that compute.fp32 states"),
        ("active: 10W", "active: 3W", "below the 4 W of power.idle"),
        ("15W: {active: 15W", "15W: {active: 14W", "differs from power.active"),
        ("clock: 500MHz, cores: 250", "clock: 5GHz, cores: 250", "give the fastest mode first"),
        ("bandwidth: 30GB/s", "bandwidth: 90GB/s", "above memory.bandwidth"),
        ("clock: 500MHz", "clock: fast", "give a clock from 10MHz to 10GHz"),
        (", modes: a guide", "", "has no source"),
    ],
)
def test_a_faulty_mode_is_refused(tmp_path: Path, old: str, new: str, said: str):
    path = tmp_path / "board.yaml"
    path.write_text(BOARD.replace(old, new))
    with pytest.raises(HardwareError, match=said):
        load_device(str(path))


@pytest.mark.parametrize("command", [["devices"], ["cost", "--model", "wav2vec2-base", "--device"]])
def test_cost_and_devices_take_a_mode(capsys, command):
    with pytest.raises(SystemExit) as end:
        main([*command, "jetson-agx-orin-64gb@30W"])
    assert end.value.code == 0
    assert "NVIDIA Jetson AGX Orin (64 GB), 30W" in capsys.readouterr().out


def test_a_scenarios_mix_takes_modes_beside_their_board(capsys, tmp_path: Path):
    mix = "[{device: jetson-tx2@MAX-Q, share: 0.5}, {device: jetson-tx2, share: 0.5}]"
    asked = ["--set", f"fleet.mix={mix}", "--set", "rounds.count=1", "--out", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as end:
        main(["run", "paper/fl10-jetson-xavier-nx", *asked])
    assert end.value.code == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("jetson-tx2")]
    assert [row[:2] for row in rows] == [["jetson-tx2", "5"], ["jetson-tx2@MAX-Q", "5"]]
