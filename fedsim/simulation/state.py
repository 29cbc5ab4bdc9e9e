"""The engine's state on disk, so that a run that was killed goes on where it was.

One small JSON file a checkpoint, ``checkpoints/engine-00012.json`` for the state after 12 rounds,
written atomically; the newest two are kept, as the learner keeps its newest two, until the run is
finished. Arrays are written with their dtype, floats in full precision. A file of this kind is data
only: nothing is unpickled. It carries a SHA-256 over itself and the run's resolved scenario, so that
one that is damaged, or belongs to another scenario, is noticed before it is used.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from fedsim import files, missing
from fedsim.errors import RunError

_NAME = re.compile(r"engine-(\d{5,})\.json")
_HEAD, _MIDDLE, _END = '{"sha256": "', '", "state": ', "}"
MOST_BYTES = 600 * files.MB  # ten million clients with a few figures each
_DTYPES = {"int64", "float64", "bool", "int8", "uint64", "int32"}


def _encode(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {"dtype": str(value.dtype), "values": missing.to_list(value)}
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not part of an engine's state")


def _decode(value: dict[str, Any]) -> Any:
    if set(value) == {"dtype", "values"}:
        if value["dtype"] not in _DTYPES:
            raise ValueError(f"dtype {value['dtype']!r}")
        if value["dtype"] == "float64":
            return missing.from_list(value["values"])
        return np.array(value["values"], dtype=value["dtype"])
    return value


def _seal(scenario: str, body: str) -> str:
    return hashlib.sha256(f"{scenario}\x1f{body}".encode()).hexdigest()


def save(folder: Path, rounds_done: int, state: dict[str, Any], scenario: str) -> None:
    """Write the state after ``rounds_done`` rounds of a scenario, and drop all but the newest two."""
    folder.mkdir(parents=True, exist_ok=True)
    body = json.dumps(state, default=_encode)
    files.write_text(
        folder / f"engine-{rounds_done:05d}.json", f"{_HEAD}{_seal(scenario, body)}{_MIDDLE}{body}{_END}"
    )
    for old in available(folder)[:-2]:
        (folder / f"engine-{old:05d}.json").unlink(missing_ok=True)


def clear(folder: Path) -> None:
    """Remove all states of a run that is finished; the folder too, if nothing else is in it."""
    files.remove_temporary(folder)
    for rounds_done in available(folder):
        (folder / f"engine-{rounds_done:05d}.json").unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def available(folder: Path) -> list[int]:
    """Rounds done of each state in a folder, ascending."""
    if not folder.is_dir():
        return []
    return sorted(int(found[1]) for entry in folder.iterdir() if (found := _NAME.fullmatch(entry.name)))


def read(folder: Path, rounds_done: int, scenario: str) -> dict[str, Any]:
    """Read the state after ``rounds_done`` rounds of a scenario.

    Raises:
        RunError: if the file is not what :func:`save` wrote.
    """
    file = folder / f"engine-{rounds_done:05d}.json"
    text = files.read_text(file, RunError, MOST_BYTES)
    at = len(_HEAD) + 64
    body = text[at + len(_MIDDLE) : -len(_END)]
    if text != f"{_HEAD}{_seal(scenario, body)}{_MIDDLE}{body}{_END}":
        raise RunError("is damaged, or belongs to another scenario", file=file)
    state = files.parse_json(body, file, RunError, finite=False, hook=_decode)
    if not isinstance(state, dict) or state.get("next_round") != rounds_done:
        raise RunError("is damaged: it is not an engine's state", file=file)
    return state


def newest(folder: Path, scenario: str) -> tuple[int, dict[str, Any] | None]:
    """Rounds done and state of the newest sound state of a scenario; 0 and None if there is no state at all.

    Raises:
        RunError: if there are states, and none of them is sound.
    """
    fault = None
    for rounds_done in reversed(available(folder)):
        try:
            return rounds_done, read(folder, rounds_done, scenario)
        except RunError as found:
            fault = fault or found
    if fault is not None:
        raise fault
    return 0, None
