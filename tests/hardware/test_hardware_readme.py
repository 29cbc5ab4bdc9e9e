"""The examples in hardware/README.md are a device and a trend that load."""

from __future__ import annotations

import re
from pathlib import Path

from fedsim import paths
from fedsim.hardware import load_device, load_trend, measurements, startup


def test_the_example_of_the_readme_loads(tmp_path: Path):
    text = (paths.data_dir("hardware") / "README.md").read_text(encoding="utf-8")
    device, steps = (re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)[0] for kind in ("yaml", "csv"))
    (tmp_path / "my-board.yaml").write_text(device)
    (tmp_path / "my-board.csv").write_text(steps)
    loaded = load_device(str(tmp_path / "my-board.yaml"))
    assert loaded.measured_rates is not None
    assert loaded.battery_j == 17 * 3600
    assert [m.seconds_per_batch for m in measurements(loaded)] == [1.78, None, 1.1]
    assert startup(loaded).seconds == 20.0


def test_the_trend_of_the_readme_loads(tmp_path: Path):
    text = (paths.data_dir("hardware") / "README.md").read_text(encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[1])
    trend = load_trend(str(tmp_path / "mine.yaml"))
    assert trend.doubling_years["energy"] == 3
    assert trend.range_years["compute"] == (1.9, 2.8)
    assert trend.together == ("compute", "memory")
