"""The one file that somebody contributes: a device like any other, and nothing about a person."""

from __future__ import annotations

import getpass
import os
import platform
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from test_measure_device_file import HOST, PROBES, RATES, WHEN

from fedsim.cli import fedsim as cli
from fedsim.errors import HardwareError
from fedsim.hardware import load_device, measurements, startup
from fedsim.hardware.device import StatedStep
from fedsim.measure import calibrate as calibrating
from fedsim.measure import device_file, steps
from fedsim.measure.timing import Setting
from fedsim.pricing.calibration import calibrate

STEPS = [
    StatedStep("wav2vec2-base", 1, 4.0, "fp32", 2.345678),
    StatedStep("wav2vec2-base", 2, 7.5, "fp32", 9.0),
]
STARTED = replace(HOST, startup_s=6.5432)


@pytest.fixture
def shared(tmp_path):
    return device_file.write_share(tmp_path / "my-board.yaml", STARTED, RATES, WHEN, STEPS)


def test_it_is_a_device_with_its_rates_its_start_and_its_steps(shared):
    device = load_device(str(shared))
    assert device.measured_rates.flops_per_s["fp32"]["conv"] == pytest.approx(52.51e9)
    found = startup(device)
    assert (found.seconds, found.own) == (6.54, True)
    assert "transformers 5.23.0, wall time, median of 5 processes" in found.source
    assert [(m.model, m.batch_size, m.seconds, m.seconds_per_batch) for m in measurements(device)] == [
        ("wav2vec2-base", 1, 4.0, 2.346),
        ("wav2vec2-base", 2, 7.5, 9.0),
    ]
    shown = calibrate(device)
    assert (shown.status, len(shown.residuals)) == ("measured", 2)
    assert [residual.measured_s for residual in shown.residuals] == [2.346, 9.0]


def test_it_says_what_ran(shared):
    lines = shared.read_text().splitlines()
    at = lines.index("versions:")
    said = dict(line.strip().split(": ") for line in lines[at + 1 : at + 6])
    assert set(said) == {"fedsim", "python", "torch", "transformers", "system"}
    assert said["torch"] == '"2.13.0"'


@pytest.mark.parametrize("version", ["3.20", "3", "2.13.0"])
def test_a_version_is_no_number(tmp_path, version):
    path = device_file.write_share(tmp_path / "a.yaml", STARTED, RATES, replace(WHEN, torch=version), STEPS)
    assert load_device(str(path)).title == "Some Processor, 2 threads"


def test_it_names_neither_the_machine_nor_its_user_nor_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "node", lambda: "alices-laptop")
    monkeypatch.setenv("USER", "alice")
    folder = tmp_path / "alice"
    folder.mkdir()
    text = device_file.write_share(folder / "alices.yaml", STARTED, RATES, WHEN, STEPS).read_text()
    named = [
        "alice",
        str(tmp_path),
        "operators.csv",
        os.uname().nodename,
        getpass.getuser(),
        str(Path.home()),
    ]
    assert [word for word in named if len(word) > 4 and word in text] == []
    assert len(text) < 4000


def test_without_steps_it_still_loads(tmp_path):
    device = load_device(str(device_file.write_share(tmp_path / "a.yaml", STARTED, RATES, WHEN, [])))
    assert device.steps == ()


def test_a_host_that_nobody_timed_has_the_start_of_its_family(tmp_path):
    path, _ = device_file.write(tmp_path / "a.yaml", HOST, RATES, PROBES, [], WHEN)
    assert startup(load_device(str(path))).own is False


@pytest.mark.parametrize(
    ("share", "sentence"),
    [("a.yaml", "the place of --out"), ("b.json", "ends in .yaml"), ("nowhere/b.yaml", "there is no folder")],
)
def test_a_place_that_cannot_be_written_is_refused_before_measuring(tmp_path, share, sentence):
    with pytest.raises(HardwareError, match=sentence):
        device_file.check_writable(tmp_path / "a.yaml", tmp_path / share)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("batch_size: 1,", "batch_size: 0,", "batch_size"),
        ("precision: fp32,", "precision: tf32,", "precision"),
        ("seconds_per_batch: 9", "seconds_per_batch: oom", "seconds_per_batch"),
        ("  steps: ", "  stepping: ", "stepping"),
    ],
)
def test_a_fault_in_a_step_is_one_sentence(shared, old, new, said):
    shared.write_text(shared.read_text().replace(old, new, 1))
    with pytest.raises(HardwareError, match=said):
        load_device(str(shared))


def test_real_steps_are_timed_where_memory_suffices(shared):
    device = load_device(str(shared))
    settings = (Setting(1, 0.5), Setting(1, 30_000.0))
    (one,) = steps.run(device, "cpu", "wav2vec2-tiny", settings, 1, runs=1)
    assert (one.model, one.batch_size, one.seconds, one.precision) == ("wav2vec2-tiny", 1, 0.5, "fp32")
    assert one.seconds_per_batch > 0


@pytest.mark.parametrize("precision", ["fp32", "bf16", "mixed"])
def test_a_real_step_trains(precision):
    step = steps.make("wav2vec2-tiny", 2, 1.0, precision, "cpu")
    losses = [float(step()) for _ in range(3)]
    assert np.isfinite(losses).all()
    assert len(set(losses)) == 3


@pytest.mark.parametrize("quiet", [False, True])
def test_the_command_writes_what_to_share_beside_the_rest(tmp_path, monkeypatch, made, quiet):
    timed = tuple(
        made.timed(kind, 2e9, [0.5, 0.25, 0.125]) for kind in ("conv", "grouped_conv", "matmul", "attention")
    )
    found = calibrating.Measured(STARTED, RATES, PROBES, timed, WHEN)
    monkeypatch.setattr(calibrating, "calibrate", lambda *rest: found)
    monkeypatch.setattr(steps, "run", lambda device, *rest: STEPS if device.name == "mine" else [])
    monkeypatch.chdir(tmp_path)
    asked = ["calibrate", "--out", "mine.yaml", "--share", "board.yaml", *(["--quiet"] if quiet else [])]
    done = CliRunner().invoke(cli, asked, catch_exceptions=False)
    told = done.stdout.splitlines()
    wrote = ["wrote mine.yaml", "wrote mine-operators.csv", "wrote board.yaml"]
    assert told[-3:] == wrote if not quiet else told == ["mine.yaml"]
    assert len(load_device("board.yaml").steps) == 2
    assert load_device("mine.yaml").steps == ()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["board.yaml", "mine-operators.csv", "mine.yaml"]
