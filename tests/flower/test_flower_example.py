"""The example app: stock Flower, its committed picture, its fleet."""

from __future__ import annotations

from pathlib import Path

from fedsim.scenario import load

ROOT = Path(__file__).resolve().parents[2] / "analysis"


def test_the_picture_is_committed_and_shown_and_the_fleet_has_the_apps_nodes():
    assert 10_000 < (ROOT / "pictures" / "flower.png").stat().st_size < 300_000
    assert "pictures/flower.png" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert load(ROOT / "flower" / "fleet.yaml").scenario.fleet.clients == 12
    app = (ROOT / "flower" / "app.py").read_text(encoding="utf-8")
    assert "NODES, ROUNDS, CLASSES, FEATURES = 12, 12, 6, 20" in app
    assert app.count("Fleet") == 2  # the import, and the line that wraps
