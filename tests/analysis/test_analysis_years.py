"""The pages and pictures about years: as committed, and as the scripts make them again."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ANALYSIS = Path(__file__).resolve().parents[2] / "analysis"
PICTURES = ("fig1", "are-we-there-yet", "are-we-there-yet-years")


def run(script, *arguments):
    done = subprocess.run(
        [sys.executable, str(ANALYSIS / script), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.slow
def test_the_committed_page_is_what_the_script_writes(tmp_path):
    run("are_we_there_yet.py", "--out", tmp_path)
    page = (tmp_path / "are-we-there-yet.md").read_text(encoding="utf-8")
    assert page == (ANALYSIS / "are-we-there-yet.md").read_text(encoding="utf-8")
    for name in PICTURES[1:]:
        with Image.open(tmp_path / "pictures" / f"{name}.png") as picture:
            assert picture.width > 1000


@pytest.mark.slow
def test_figure_1_is_drawn(tmp_path):
    run("fig1.py", "--out", tmp_path)
    with Image.open(tmp_path / "fig1.png") as picture:
        assert picture.width > 1000
        assert len(picture.convert("RGB").getcolors(maxcolors=1_000_000)) > 20


@pytest.mark.parametrize("name", PICTURES)
def test_committed_pictures_are_small_and_shown(name):
    picture = ANALYSIS / "pictures" / f"{name}.png"
    assert 10_000 < picture.stat().st_size < 300_000
    shown = (ANALYSIS / "README.md").read_text(encoding="utf-8")
    shown += (ANALYSIS / "are-we-there-yet.md").read_text(encoding="utf-8")
    assert f"pictures/{name}.png" in shown
