"""Published figures come out of the catalogue, and every faulty file is one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedsim.errors import HardwareError
from fedsim.hardware import catalogue, load_device
from fedsim.units import GIB

GOOD = """\
title: A board
family: jetson
released: 2020
backend: cuda
memory: {capacity: 8GiB, shared: true, bandwidth: 59.7GB/s, system: 1GiB, runtime: 1GiB}
compute: {fp32: 845GFLOP/s, fp16: 6.76TFLOP/s, trains_in: [fp32, mixed]}
power: {idle: 4W, active: 15W}
sources:
  released: a page
  memory: a data sheet
  compute: a data sheet
  power: "estimated: a guess"
"""


def read(tmp_path: Path, text: str):
    path = tmp_path / "board.yaml"
    path.write_text(text)
    return load_device(str(path))


@pytest.mark.parametrize(
    ("name", "fp32", "bandwidth", "gib"),
    [
        ("nvidia-a40", 37.4e12, 696e9, 48),  # NVIDIA A40 datasheet
        ("nvidia-v100", 15.7e12, 900e9, 16),  # NVIDIA V100 datasheet, SXM2
        ("nvidia-v100-32gb", 5120 * 1.53e9 * 2, 900e9, 32),
        ("nvidia-rtx-a5000", 64 * 128 * 1.695e9 * 2, 768e9, 24),
        ("nvidia-rtx-a6000", 84 * 128 * 1.8e9 * 2, 768e9, 48),
        ("nvidia-rtx-2080-ti", 4352 * 1.635e9 * 2, 616e9, 11),
        ("nvidia-p100", 3584 * 1.48e9 * 2, 732e9, 16),
        ("nvidia-l4", 58 * 128 * 2.04e9 * 2, 300e9, 24),
        ("nvidia-a100-80gb", 19.5e12, 2039e9, 80),  # NVIDIA A100 datasheet, SXM
        ("nvidia-h100", 67e12, 3.35e12, 80),  # NVIDIA H100 datasheet, SXM
        ("geforce-rtx-3090", 35.6e12, 936e9, 24),  # GA102 whitepaper
        ("jetson-xavier-nx", 384 * 1.1e9 * 2, 59.7e9, 8),  # 384 CUDA cores at 1.1 GHz
        ("jetson-agx-xavier", 512 * 1.377e9 * 2, 136.5e9, 16),  # 512 CUDA cores at 1.377 GHz
        ("jetson-agx-orin-64gb", 2048 * 1.3e9 * 2, 204.8e9, 64),
        (
            "raspberry-pi-4",
            4 * 1.5e9 * 8,
            3.2e9 * 4,
            8,
        ),  # 4 cores, one 128-bit FMA a cycle; LPDDR4-3200 x 32 bit
        ("raspberry-pi-5", 4 * 2.4e9 * 16, 4.267e9 * 4, 8),  # two 128-bit FMAs a cycle
        ("macbook-pro-2019", 8 * 4.1e9 * 32, 2 * 8 * 2.667e9, 32),  # two AVX2 FMAs a cycle; 2 x DDR4-2666
    ],
)
def test_published_figures(name, fp32, bandwidth, gib):
    device = load_device(name)
    assert device.peak_flops_per_s["fp32"] == pytest.approx(fp32, rel=0.005)
    assert device.memory_bandwidth_bytes_per_s == pytest.approx(bandwidth, rel=0.005)
    assert device.memory_bytes == gib * GIB


def test_a_macs_matrix_coprocessor_is_a_peak_of_its_own_above_its_cores():
    macs = ("macbook-air-m1", "macbook-air-m2", "macbook-pro-m3", "macbook-pro-m4")
    peaks = [load_device(name).peak_flops_per_s for name in macs]
    assert [p["fp32_matrix"] for p in peaks] == [1.48e12, 1.64e12, 1.9e12, 2.3e12]
    # A quarter of it was measured in fp64: 371 and 409 GFLOP/s of one cluster.
    assert peaks[0]["fp32_matrix"] == pytest.approx(4 * 371e9, rel=0.01)
    assert peaks[1]["fp32_matrix"] == pytest.approx(4 * 409e9, rel=0.01)
    assert all(p["fp32_matrix"] > 2 * p["fp32"] for p in peaks)
    assert all(
        "fp32_matrix" not in d.peak_flops_per_s
        for d in catalogue()
        if d.name not in (*macs, "macbook-pro-m1-max")
    )


@pytest.mark.parametrize(
    ("name", "seen_mib", "sold_mib"),
    [
        ("jetson-thor", 125_772, 131_072),
        ("jetson-agx-orin-64gb", 62_841, 65_536),
        ("jetson-agx-orin-32gb", 30_536, 32_768),
    ],
)
def test_a_board_holds_back_what_linux_does_not_see_and_its_services(name, seen_mib, sold_mib):
    device = load_device(name)
    assert device.memory_bytes == sold_mib * 2**20
    services = device.system_bytes - (sold_mib - seen_mib) * 2**20
    assert 0.3 * GIB <= services <= 0.6 * GIB


@pytest.mark.parametrize(
    ("name", "app_gib"),
    [
        ("a13-bionic", 2068 / 1024),
        ("a15-bionic", 0.55 * 6),
        ("a16-bionic", 0.55 * 6),
        ("a17-pro", 6),
        ("a18-pro", 6),
    ],
)
def test_an_iphones_system_is_what_an_app_may_not_hold(name, app_gib):
    device = load_device(name)
    assert (device.memory_bytes - device.system_bytes) / GIB == pytest.approx(app_gib, rel=0.02)
    assert "what an app may not hold" in device.source_of("memory.system")


def test_every_android_phone_says_that_no_limit_binds_native_memory():
    phones = [d for d in catalogue() if d.family == "phone" and "Apple" not in d.title]
    assert len(phones) == 14
    assert all("native memory" in d.source_of("memory.system") for d in phones)


def test_sixteen_bits_on_the_older_gpus():
    # 640 tensor cores of 64 multiply-adds; 544 that accumulate 32 in fp32; none, but two halves a core.
    for name, rate in (
        ("nvidia-v100-32gb", 640 * 64 * 1.53e9 * 2),
        ("nvidia-rtx-2080-ti", 544 * 32 * 1.635e9 * 2),
        ("nvidia-p100", 3584 * 2 * 1.48e9 * 2),
    ):
        assert load_device(name).peak_flops_per_s["fp16"] == pytest.approx(rate, rel=0.005)


def test_tensor_cores_of_the_measured_gpus():
    assert load_device("nvidia-a40").peak_flops_per_s["fp16"] == 149.7e12
    assert load_device("jetson-xavier-nx").peak_flops_per_s["fp16"] == pytest.approx(
        48 * 64 * 1.1e9 * 2, rel=0.005
    )
    assert load_device("jetson-agx-xavier").peak_flops_per_s["fp16"] == pytest.approx(
        64 * 64 * 1.377e9 * 2, rel=0.005
    )


def test_the_papers_devices_train_as_the_paper_trained_them():
    assert load_device("raspberry-pi-4").training_precisions == ("fp32",)
    assert load_device("macbook-pro-2019").training_precisions == ("fp32",)
    for name in ("nvidia-a40", "jetson-agx-xavier", "jetson-xavier-nx"):
        device = load_device(name)
        assert device.backend == "cuda"
        assert "mixed" in device.training_precisions


def test_a_good_file_is_read_as_it_stands(tmp_path):
    device = read(tmp_path, GOOD)
    assert device.name == "board"
    assert device.memory_bytes == 8 * GIB
    assert device.memory_bandwidth_bytes_per_s == pytest.approx(59.7e9)
    assert device.sustained == 1.0
    assert device.throttle_after_s is None
    assert device.battery_j is None
    assert device.source_of("memory.bandwidth") == "a data sheet"
    assert device.estimated == ("power",)
    assert hash(device) == hash(read(tmp_path, GOOD))


def test_battery_and_heat(tmp_path):
    text = GOOD.replace("active: 15W}", "active: 15W, battery: 10Wh}")
    text = text.replace(
        "sources:", "thermal: {sustained: 0.6, throttle_after: 5min}\nsources:\n  thermal: a review"
    )
    device = read(tmp_path, text)
    assert device.battery_j == 36000.0
    assert (device.sustained, device.throttle_after_s) == (0.6, 300.0)


FAULTS = {
    "zero bytes": (
        "capacity: 8GiB",
        "capacity: 0B",
        "memory.capacity: is '0B'; give a size from 64MiB to 16TiB",
    ),
    "not a number": ("released: 2020", "released: .nan", "released: is nan; give a year from 2005 to 2035"),
    "nan rate": ("fp32: 845GFLOP/s", "fp32: .nan", "compute.fp32: is nan; give a peak"),
    "infinite rate": ("fp32: 845GFLOP/s", "fp32: .inf", "compute.fp32: is inf; give a peak"),
    "too small, as it is written": (
        "capacity: 8GiB",
        "capacity: 32MiB",
        "memory.capacity: is '32MiB'; give a size from 64MiB to 16TiB",
    ),
    "negative": (
        "bandwidth: 59.7GB/s",
        "bandwidth: -1GB/s",
        "memory.bandwidth: is '-1GB/s'; give a rate from",
    ),
    "absurdly large": ("fp32: 845GFLOP/s", "fp32: 845e15", "compute.fp32: is 8.45e+17; give a peak"),
    "no unit known": ("fp32: 845GFLOP/s", "fp32: 845 GHz", "compute.fp32: is '845 GHz'; give a peak"),
    "boolean": ("fp32: 845GFLOP/s", "fp32: true", "compute.fp32: is True; give a peak"),
    "missing": ("family: jetson\n", "", "family: is missing; give one of raspberry-pi, jetson"),
    "missing rate": ("fp32: 845GFLOP/s, ", "", "compute.fp32: is missing; give a peak"),
    "unknown key": (
        "power: {",
        "colour: red\npower: {",
        "colour: 'colour' is not a known key; known here: title, sources, family",
    ),
    "misspelt key": (
        "runtime: 1GiB",
        "runtme: 1GiB",
        "memory.runtme: 'runtme' is not a known key; did you mean 'runtime'?",
    ),
    "misspelt extra": (
        "runtime: 1GiB",
        "runtime: 1GiB, sytem: 2GiB",
        "memory.sytem: 'sytem' is not a known key; did you mean 'system'?",
    ),
    "unknown family": ("family: jetson", "family: toaster", "family: is 'toaster'; give one of raspberry-pi"),
    "unknown backend": ("backend: cuda", "backend: tpu", "backend: is 'tpu'; give one of cpu, cuda"),
    "no source": ("  power:", "  released.x:", "sources.released.x: has a source but no figure in this file"),
    "source missing": ('  power: "estimated: a guess"\n', "", "power.idle: has no source; give one under"),
    "blank source": ('  power: "estimated: a guess"', '  power: " "', "sources.power: is ' '; give where"),
    "shared in words": ("shared: true", "shared: perhaps", "memory.shared: is 'perhaps'; give true or false"),
    "year as text": (
        "released: 2020",
        "released: '2020'",
        "released: is '2020'; give a year from 2005 to 2035",
    ),
    "no room": ("system: 1GiB", "system: 7.5GiB", "memory.system: leaves nothing to train in"),
    "idle above active": ("idle: 4W", "idle: 40W", "power.idle: is 40 W, above the 15 W of power.active"),
    "mixed without fp16": (
        "fp16: 6.76TFLOP/s, ",
        "",
        "compute.trains_in: names mixed, but compute.fp16 is not given",
    ),
    "precision unknown": (
        "[fp32, mixed]",
        "[fp32, fp8]",
        "compute.trains_in[1]: is 'fp8'; give a list of fp32, mixed, bf16",
    ),
    "precision twice": (
        "[fp32, mixed]",
        "[fp32, fp32]",
        "compute.trains_in: is ['fp32', 'fp32']; give a list of",
    ),
    "without fp32": ("[fp32, mixed]", "[mixed]", "compute.trains_in: is ['mixed']; give a list of"),
    "sustained above peak": (
        "sources:",
        "thermal: {sustained: 1.2, throttle_after: 1min}\nsources:\n  thermal: a review",
        "thermal.sustained: is 1.2; give the share of its speed held once hot, from 0.05 to 1",
    ),
    "relative to itself": (
        "power: {",
        "relative: board\npower: {",
        "relative: is 'board', the device itself",
    ),
    "no measurement file": (
        "power: {",
        "measurements: x.csv\npower: {",
        "measurements: is 'x.csv', and there is no",
    ),
    "a list": (GOOD, "- a\n- b\n", "['a', 'b'] is not a block with the keys title, sources"),
    "empty": (GOOD, "", "is empty; give a block with the keys title, sources"),
    "duplicate": ("released: 2020", "released: 2020\nreleased: 2021", "released: is given twice"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_sentence(tmp_path, fault):
    old, new, expected = FAULTS[fault]
    assert old in GOOD
    with pytest.raises(HardwareError) as caught:
        read(tmp_path, GOOD.replace(old, new))
    text = str(caught.value)
    assert text.startswith(str(tmp_path / "board.yaml"))
    assert expected in text
    assert "\n" not in text


RATES = """\
rates:
  launch: 8us
  bandwidth: 40GB/s
  fp32: {conv: 300GFLOP/s, grouped_conv: 50GFLOP/s, matmul: 700GFLOP/s, attention: 200GFLOP/s}
  mixed: {conv: 0.3TFLOP/s, grouped_conv: 0.05TFLOP/s, matmul: 4TFLOP/s, attention: 1TFLOP/s}
sources:
  rates: measured
"""


def test_measured_rates_are_read(tmp_path):
    rates = read(tmp_path, GOOD.replace("sources:\n", RATES)).measured_rates
    assert rates is not None
    assert rates.launch_s == pytest.approx(8e-6)
    assert rates.bandwidth_bytes_per_s == 40e9
    assert rates.flops_per_s["fp32"]["matmul"] == 700e9
    assert rates.flops_per_s["mixed"]["matmul"] == 4e12


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("700GFLOP/s", "900GFLOP/s", "rates.fp32.matmul: is 900 GFLOP/s, above the peak of 845 GFLOP/s"),
        ("40GB/s", "60GB/s", "rates.bandwidth: is 60 GB/s, above the peak of 59.7 GB/s in memory.bandwidth"),
        ("40GB/s", "40GB/s\n  optimizer: 60GB/s", "rates.optimizer: is 60 GB/s, above the peak of 59.7 GB/s"),
        ("8us", "-8us", "rates.launch: is '-8us'; give a duration"),
        (", attention: 200GFLOP/s", "", "rates.fp32.attention: is missing; give a rate"),
        ("mixed: {conv", "bf16: {conv", "rates.bf16: has no peak to stay below; give compute.bf16"),
        ("fp32: {conv", "bf16: {conv", "rates.fp32: is missing; give the rates of fp32 at least"),
        ("fp32: {conv", "fp31: {conv", "rates.fp31: 'fp31' is not a known key; did you mean 'fp32'?"),
        (
            "  mixed: {conv: 0.3TFLOP/s, grouped_conv: 0.05TFLOP/s, matmul: 4TFLOP/s, attention: 1TFLOP/s}\n",
            "",
            "rates.mixed: is missing, and compute.trains_in names mixed; give its rates",
        ),
        ("mixed: {conv", "mixd: {conv", "rates.mixd: 'mixd' is not a known key; did you mean 'mixed'?"),
        (
            "4TFLOP/s",
            "7TFLOP/s",
            "rates.mixed.matmul: is 7 TFLOP/s, above the peak of 6.76 TFLOP/s in compute.fp16",
        ),
        ("conv: 300GFLOP/s, ", "conv: 0, ", "rates.fp32.conv: is 0; give a rate above 0"),
        (
            "launch: 8us",
            "launch: 8us\n  warmth: 3",
            "rates.warmth: 'warmth' is not a known key; known here: launch, bandwidth",
        ),
    ],
)
def test_a_measured_rate_above_its_peak_is_refused(tmp_path, old, new, expected):
    assert old in RATES
    with pytest.raises(HardwareError) as caught:
        read(tmp_path, GOOD.replace("sources:\n", RATES.replace(old, new)))
    assert expected in str(caught.value)


def test_a_measured_rate_may_reach_its_peak(tmp_path):
    stated = RATES.replace("40GB/s", "59.7GB/s").replace("700GFLOP/s", "845GFLOP/s")
    rates = read(tmp_path, GOOD.replace("sources:\n", stated)).measured_rates
    assert rates.bandwidth_bytes_per_s == 59.7e9
    assert rates.flops_per_s["fp32"]["matmul"] == 845e9


def test_an_unknown_device_names_its_neighbours():
    with pytest.raises(HardwareError) as caught:
        load_device("jetson-xavir-nx")
    assert "there is no device 'jetson-xavir-nx'; did you mean 'jetson-xavier-nx'" in str(caught.value)


def test_a_users_path_wins_over_the_catalogue(tmp_path, monkeypatch):
    (tmp_path / "nvidia-a40").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    assert load_device("nvidia-a40").title == "A board"


def test_the_catalogue_is_sorted_and_complete():
    names = [device.name for device in catalogue()]
    assert names == sorted(names)
    assert len(names) >= 30
    wanted = """raspberry-pi-4 raspberry-pi-5 jetson-nano jetson-tx2 jetson-xavier-nx jetson-agx-xavier
        jetson-agx-xavier-32gb jetson-orin-nano jetson-orin-nx jetson-agx-orin-32gb jetson-agx-orin-64gb
        jetson-thor macbook-pro-2019 nvidia-v100 nvidia-a40 nvidia-a100-40gb nvidia-a100-80gb nvidia-h100
        geforce-rtx-3090 geforce-rtx-4090 snapdragon-870 a15-bionic google-tensor"""
    assert set(wanted.split()) <= set(names)
