"""Keys that went by another name in an earlier version: they keep working, and are said once."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from fedsim.errors import MovedKeyWarning, ScenarioError

MOVED = {
    "learning.yardstick": "learning.baseline",
    "learning.corrupt": "learning.byzantine",
}
"""Key paths of blocks, as they were and as they are."""


def today(path: str) -> str:
    """A key path under its name of today."""
    for old, new in MOVED.items():
        if path == old or path.startswith((f"{old}.", f"{old}[")):
            _say(old, new)
            return new + path[len(old) :]
    return path


def rename(data: Any, file: str | Path) -> None:
    """Give every moved key of plain scenario data its name of today, in place.

    Raises:
        ScenarioError: a key stands there under both names.
    """
    for old, new in MOVED.items():
        *blocks, key = old.split(".")
        at = data
        for block in blocks:
            at = at.get(block) if isinstance(at, dict) else None
        if not isinstance(at, dict) or key not in at:
            continue
        called = new.rpartition(".")[2]
        if called in at:
            raise ScenarioError(
                f"is the old name of {new}, which is there too; keep that", file=file, key=old
            )
        _say(old, new)
        moved = {called if name == key else name: value for name, value in at.items()}
        at.clear()
        at.update(moved)


def _say(old: str, new: str) -> None:
    warnings.warn(f"the key {old} is now called {new}", MovedKeyWarning, stacklevel=2)
