"""``fedsim sweep`` as people call it: what it prints, what it leaves, how it refuses."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from fedsim.cli import main

from .conftest import GRID, TIMING


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(TIMING + GRID)
    return path


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as done:
        main(["sweep", *map(str, arguments)])
    said = capsys.readouterr()
    return done.value.code, said.out, said.err


def test_it_leaves_a_table_pictures_and_what_was_reused(file, tmp_path, capsys):
    code, out, _ = call(capsys, file, "--out", tmp_path / "one", "--workers", 1, "--json")
    said = json.loads(out)
    assert code == 0
    assert (said["points"], said["failed"], said["computed"], said["stored"]) == (4, 0, 4, 0)
    assert [Path(path).name for path in said["figures"]] == [
        "end_s.png",
        "outcomes.completed.png",
        "energy_j.png",
    ]
    for path in said["figures"]:
        with Image.open(path) as picture:
            assert len(picture.convert("RGB").getcolors(maxcolors=1_000_000)) > 20
    code, out, _ = call(capsys, file, "--out", tmp_path / "two", "--workers", 1, "--quiet")
    assert (code, out) == (0, f"{tmp_path / 'two'}\n")
    assert (tmp_path / "one" / "sweep.parquet").read_bytes() == (
        tmp_path / "two" / "sweep.parquet"
    ).read_bytes()
    code, out, _ = call(capsys, "--resume", tmp_path / "two", "--workers", 1)
    assert code == 0
    assert "4 kept from before" in out


def test_a_series_beyond_the_first_axis_gets_marks_of_its_own_and_text_axes_no_line(tmp_path, capsys):
    from fedsim.report import sweeps

    block = (
        "sweep: {fleet.mix.0.device: [jetson-xavier-nx, nvidia-a40], seed: [1, 2, 3], rounds.cohort: [2, 4]}"
    )
    (tmp_path / "it.yaml").write_text(TIMING + block)
    call(capsys, tmp_path / "it.yaml", "--out", tmp_path / "sweep", "--workers", 1, "--quiet")
    data = sweeps.read(tmp_path / "sweep")
    assert [axis.label for axis in data.axes] == ["seed", "rounds.cohort", "fleet.mix[0].device"]
    panels = sweeps._panels(data)
    assert [heading for heading, _ in panels] == ["jetson-xavier-nx", "nvidia-a40"]
    frame = sweeps.draw(data, "end_s", panels, sweeps.LIGHT)
    for ax, (_, held) in zip(frame.figure.axes, panels, strict=True):
        drawn = [line for line in ax.get_lines() if line.get_label() in ("2", "4")]
        assert [list(line.get_xdata()) for line in drawn] == [[1, 2, 3]] * 2
        scale = sweeps._scale("end_s", max(data.columns["end_s"]))[0]
        for line in drawn:
            cohort = int(line.get_label())
            rows = [row for row in held if data.columns["rounds.cohort"][row] == cohort]
            wanted = [
                float("nan") if data.doubtful[row] else data.columns["end_s"][row] / scale for row in rows
            ]
            assert list(line.get_ydata()) == pytest.approx(wanted, nan_ok=True)
    assert len({line.get_color() for line in frame.figure.axes[0].get_lines() if len(line.get_xdata())}) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give either a sweep file or --resume DIR"),
        (("quickstart",), "has no sweep block"),
        (("FILE", "--address", "h:1"), "give --executor ray"),
        (("FILE", "--executor", "ray", "--address", "127.0.0.1:1"), "no Ray cluster can be reached there"),
        (("--resume", "nowhere"), "holds no sweep to go on with"),
        (("--resume", "nowhere", "--set", "seed=1"), "do not apply"),
        (("FILE", "--set", "rounds.chorot=1"), "did you mean 'cohort'"),
    ],
)
def test_refusals_are_one_line_and_exit_2(file, tmp_path, capsys, arguments, said):
    given = [file if argument == "FILE" else argument for argument in arguments]
    code, out, err = call(capsys, *given, *([] if "--resume" in given else ["--out", tmp_path / "out"]))
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_failed_points_are_told_and_the_exit_code_is_1(file, tmp_path, capsys, monkeypatch):
    from fedsim.sweeps import here, work

    monkeypatch.setattr(here, "do", lambda job: work.Done(fault="no luck"))
    code, out, err = call(capsys, file, "--out", tmp_path / "out", "--workers", 1, "--no-cache")
    assert code == 1
    assert "4 failed" in out
    assert err.count("no luck") == 4


def test_a_sweep_that_is_killed_leaves_no_workers_and_resumes_to_the_same_bytes(file, tmp_path, capsys):
    import psutil

    whole = tmp_path / "whole"
    call(capsys, file, "--out", whole, "--workers", 1, "--quiet", "--no-cache")
    arguments = [
        sys.executable,
        "-m",
        "fedsim",
        "sweep",
        file,
        "--out",
        tmp_path / "cut",
        "--no-cache",
        "--quiet",
    ]
    process = subprocess.Popen(list(map(str, arguments)), start_new_session=True)
    until = time.monotonic() + 60
    while time.monotonic() < until and not list((tmp_path / "cut").glob("points/*/summary.json")):
        assert process.poll() is None
        time.sleep(0.01)
    children = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    gone, alive = psutil.wait_procs(children, timeout=30)
    assert (bool(gone), alive) == (True, [])
    assert not (tmp_path / "cut" / "sweep.parquet").exists()
    code, _, _ = call(capsys, "--resume", tmp_path / "cut", "--workers", 1, "--no-cache", "--quiet")
    assert code == 0
    assert (tmp_path / "cut" / "sweep.parquet").read_bytes() == (whole / "sweep.parquet").read_bytes()
