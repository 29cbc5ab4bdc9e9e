"""The example in hardware/README.md is a device that loads."""

from __future__ import annotations

import re
from pathlib import Path

from fedsim import paths
from fedsim.hardware import load_device, measurements


def test_the_example_of_the_readme_loads(tmp_path: Path):
    text = (paths.data_dir("hardware") / "README.md").read_text(encoding="utf-8")
    device, steps = (re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)[0] for kind in ("yaml", "csv"))
    (tmp_path / "my-board.yaml").write_text(device)
    (tmp_path / "my-board.csv").write_text(steps)
    loaded = load_device(str(tmp_path / "my-board.yaml"))
    assert loaded.measured_rates is not None
    assert loaded.battery_j == 17 * 3600
    assert [m.oom for m in measurements(loaded)] == [False, True]
