"""How long a client takes to start: of its own file, or of its family, and said which."""

from __future__ import annotations

import csv
from dataclasses import replace

import pytest

from fedsim import paths
from fedsim.errors import HardwareError
from fedsim.hardware import catalogue, load_device, load_trend, project, startup
from fedsim.hardware.device import FAMILIES

GOOD = """\
title: A board
family: jetson
released: 2020
backend: cuda
startup: 12.5s
memory: {capacity: 8GiB, shared: true, bandwidth: 59.7GB/s, system: 1GiB, runtime: 1GiB}
compute: {fp32: 845GFLOP/s, fp16: 6.76TFLOP/s, trains_in: [fp32, mixed]}
power: {idle: 4W, active: 15W}
sources:
  released: a page
  startup: a stopwatch
  memory: a data sheet
  compute: a data sheet
  power: "estimated: a guess"
"""


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "board.yaml"
        path.write_text(text)
        return load_device(str(path))

    return read


def test_a_file_of_its_own_goes_before_the_family(read):
    own = startup(read(GOOD))
    assert (own.seconds, own.source, own.own) == (12.5, "a stopwatch", True)
    without = GOOD.replace("startup: 12.5s\n", "").replace("  startup: a stopwatch\n", "")
    of_family = startup(read(without))
    assert (of_family.seconds, of_family.own) == (20.0, False)
    assert of_family.source.startswith("estimated: 4 times the host")


@pytest.mark.parametrize(
    ("family", "seconds"),
    [("host", 5), ("gpu", 5), ("laptop", 5), ("phone", 7), ("raspberry-pi", 15), ("jetson", 20)],
)
def test_every_family_has_a_figure_with_its_evidence(family, seconds):
    device = replace(load_device("raspberry-pi-4"), family=family)
    found = startup(device)
    assert (found.seconds, found.own) == (seconds, False)
    assert ("estimated" in found.source) == (family != "host")


def test_the_families_are_those_of_devices_and_every_device_has_a_start():
    lines = (paths.data_dir("hardware") / "startup.csv").read_text().splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    assert sorted(row["family"] for row in rows) == sorted(FAMILIES)
    assert all(1.0 <= startup(device).seconds <= 60.0 for device in catalogue())


@pytest.mark.parametrize("text", [GOOD, GOOD.replace("12.5s", "1min")])
def test_a_projection_starts_as_much_sooner_as_it_launches_faster(read, text):
    device = read(text)
    later = project(device, 2025, load_trend("gao2022"))  # it counts from 2022 and doubles in 18 months
    assert later.growth.launch == pytest.approx(4.0)
    assert startup(later).seconds == pytest.approx(startup(device).seconds / 4.0)
    mode = load_device("jetson-tx2@MAX-Q")
    assert startup(mode).seconds == startup(load_device("jetson-tx2")).seconds == 20.0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("12.5s", "2h", "startup: is '2h'; give a duration from 0s to 1h"),
        ("12.5s", "soon", "startup: is 'soon'; give a duration"),
        ("12.5s", "-1s", "startup: is '-1s'; give a duration"),
        ("  startup: a stopwatch\n", "", "startup: has no source"),
        ("startup: 12.5s\n", "", "sources.startup: has a source but no figure"),
    ],
)
def test_a_fault_is_one_sentence(read, old, new, said):
    with pytest.raises(HardwareError) as refused:
        read(GOOD.replace(old, new, 1))
    assert said in str(refused.value)
