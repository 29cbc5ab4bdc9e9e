"""The scripts of ``analysis/`` run as people run them and leave what they promise."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ANALYSIS = Path(__file__).resolve().parents[2] / "analysis"


def run(script, *arguments):
    return subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", str(ANALYSIS / script), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fig2", "fig3", "fig4"])
def test_a_figure_is_drawn(name, tmp_path):
    done = run(f"{name}.py", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    with Image.open(tmp_path / f"{name}.png") as picture:
        assert picture.width > 1000
        assert len(picture.convert("RGB").getcolors(maxcolors=1_000_000)) > 20


@pytest.mark.slow
def test_the_benchmark_writes_its_contract(tmp_path):
    done = run("benchmarks/cost.py", "--skip-tracing", "--clients", 20_000, "--json", tmp_path / "cost.json")
    assert done.returncode == 0, done.stderr
    said = json.loads((tmp_path / "cost.json").read_text())
    assert set(said) == {"machine", "results"}
    assert said["results"]
    for result in said["results"]:
        assert set(result) == {"name", "value", "unit", "reference", "ratio"}
        assert result["value"] > 0
        if result["reference"] is not None:
            assert result["ratio"] == pytest.approx(result["value"] / result["reference"])


@pytest.mark.parametrize("name", ["fig2", "fig3", "fig4"])
def test_committed_pictures_are_small_and_shown(name):
    picture = ANALYSIS / "pictures" / f"{name}.png"
    assert 10_000 < picture.stat().st_size < 300_000
    assert f"pictures/{name}.png" in (ANALYSIS / "README.md").read_text(encoding="utf-8")
