"""fedsim without Flower: neither needed nor imported."""

from __future__ import annotations

import subprocess
import sys

BLOCKED = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("flwr", "ray"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import fedsim, fedsim.flower
fedsim.run(sys.argv[1], out=sys.argv[2])
assert not {"flwr", "ray"} & set(sys.modules), "imported"
"""


def test_a_run_neither_needs_nor_imports_flower_or_ray(tmp_path, scenario):
    command = [sys.executable, "-c", BLOCKED, scenario(), str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "summary.json").is_file()
