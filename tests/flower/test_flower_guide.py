"""The whole app that the guide shows: in this process, and on Flower's engine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from flwr.app import Context, RecordDict

import fedsim

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "flower.md"
PARAMETERS = (9 + 1) * 16 + (16 * 3 * 3 + 1) * 10
pytest.importorskip("sklearn")


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """The guide's files in a folder in which tests are."""
    for name, text in re.findall(r"```\w+\n# ([\w-]+\.\w+)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL):
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEDSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path


def check(folder: Path) -> None:
    run = fedsim.load(folder / "runs" / "app")
    assert len(run.clients) == 5 * 6
    done = run.clients[run.clients.outcome == "completed"]
    assert (done.uploaded_bytes == 4 * PARAMETERS).all()
    assert (done.examples == 200).all()
    assert run.rounds.loss.is_monotonic_decreasing
    assert run.rounds.loss.iloc[-1] < 0.6 * run.rounds.loss[0]
    assert "Can 6 clients train Sequential" in (folder / "runs" / "app" / "report.html").read_text("utf-8")


def test_the_app_of_the_guide(shown, local_grid):
    app: dict = {"__name__": "app"}
    exec(compile((shown / "app.py").read_text("utf-8"), "app.py", "exec"), app)
    grid = local_grid(6)

    def send_and_receive(messages, *, timeout=None):
        return [app["client"](one, context(grid.ids.index(one.metadata.dst_node_id))) for one in messages]

    def context(client):
        return Context(1, 1, {"partition-id": client}, RecordDict(), {})

    grid.send_and_receive = send_and_receive
    app["server"](grid, context(0))
    check(shown)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_app_of_the_guide_on_the_engine(shown):
    said = subprocess.run(
        [sys.executable, "app.py"],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env={**os.environ, "FLWR_TELEMETRY_ENABLED": "0", "OMP_NUM_THREADS": "1"},
    )
    assert said.returncode == 0, said.stderr
    check(shown)
