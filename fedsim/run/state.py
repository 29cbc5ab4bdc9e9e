"""The engine's state on disk, so that a run that was killed goes on where it was.

One small JSON file a checkpoint, ``checkpoints/engine-00012.json`` for the state after 12 rounds,
written atomically; the newest two are kept, as the learner keeps its newest two. Arrays are written
with their dtype, floats in full precision. A file of this kind is data only: nothing is unpickled.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from fedsim.errors import RunError
from fedsim.results import atomic

_NAME = re.compile(r"engine-(\d{5,})\.json")
_DTYPES = {"int64", "float64", "bool", "int8", "uint64", "int32"}


def _encode(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {"dtype": str(value.dtype), "values": value.tolist()}
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not part of an engine's state")


def _decode(value: dict[str, Any]) -> Any:
    if set(value) == {"dtype", "values"}:
        if value["dtype"] not in _DTYPES:
            raise ValueError(f"dtype {value['dtype']!r}")
        return np.array(value["values"], dtype=value["dtype"])
    return value


def save(folder: Path, rounds_done: int, state: dict[str, Any]) -> None:
    """Write the state after ``rounds_done`` rounds, and drop all but the newest two."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(state, default=_encode)
    atomic.write_text(folder / f"engine-{rounds_done:05d}.json", text)
    for old in available(folder)[:-2]:
        (folder / f"engine-{old:05d}.json").unlink(missing_ok=True)


def available(folder: Path) -> list[int]:
    """Rounds done of each state in a folder, ascending."""
    if not folder.is_dir():
        return []
    return sorted(int(found[1]) for entry in folder.iterdir() if (found := _NAME.fullmatch(entry.name)))


def read(folder: Path, rounds_done: int) -> dict[str, Any]:
    """Read the state after ``rounds_done`` rounds.

    Raises:
        RunError: if the file is not what :func:`save` wrote.
    """
    file = folder / f"engine-{rounds_done:05d}.json"
    try:
        state = json.loads(file.read_text(encoding="utf-8"), object_hook=_decode)
    except OSError as fault:
        raise RunError(f"cannot be read: {fault.strerror}", file=file) from None
    except (ValueError, OverflowError) as fault:
        raise RunError(f"is damaged: {fault}", file=file) from None
    if not isinstance(state, dict) or state.get("next_round") != rounds_done:
        raise RunError("is damaged: it is not an engine's state", file=file)
    return state
