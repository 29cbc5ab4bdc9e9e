"""Keys that went by another name in an earlier version: they keep working, and are said once."""

from __future__ import annotations

import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

from fedsim.errors import MovedKeyWarning, ScenarioError
from fedsim.learning.aggregate import AGGREGATIONS, Aggregation
from fedsim.options import one_of

MOVED = {
    "learning.yardstick": "learning.baseline",
    "learning.corrupt": "learning.byzantine",
}
"""Key paths of blocks, as they were and as they are."""


OF_A_RULE = ("proximal", "server_rate", "trim")
"""Keys of ``learning`` that are keys of the aggregation rule now; to other rules they said nothing."""


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


def to_the_rule(data: Any, file: str | Path) -> None:
    """Give options of the aggregation rule, in place, to the rule that the finished data name.

    Raises:
        ScenarioError: an option stands there under both names.
    """
    learning = data.get("learning")
    for key in OF_A_RULE:
        if not isinstance(learning, dict) or key not in learning:
            continue
        old, value = f"learning.{key}", learning.pop(key)
        rounds = data.get("rounds")
        rule = rounds.get("aggregate", "fedavg") if isinstance(rounds, dict) else None
        rule = rule if isinstance(rule, dict) else {Aggregation.key: rule}
        name = rule.get(Aggregation.key, "fedavg")
        chosen = one_of(Aggregation, AGGREGATIONS).choices().get(str(name))
        if (
            not isinstance(rounds, dict)
            or chosen is None
            or key not in {field.name for field in fields(chosen)}
        ):
            said = f"the key {old} is now an option of rules in rounds.aggregate; {name} has no such option"
            warnings.warn(said, MovedKeyWarning, stacklevel=2)
            continue
        _say(old, f"rounds.aggregate.{key}")
        if key in rule:
            said = f"is the old name of rounds.aggregate.{key}, which is given too"
            raise ScenarioError(said, file=file, key=old)
        rounds["aggregate"] = {Aggregation.key: name, **rule, key: value}


def _say(old: str, new: str) -> None:
    warnings.warn(f"the key {old} is now called {new}", MovedKeyWarning, stacklevel=2)
