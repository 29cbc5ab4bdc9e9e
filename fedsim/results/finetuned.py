"""``finetune.json``: what fine-tuning a run's checkpoints came to, added to after the run.

The file is ``{"format": 1, "results": [...]}``; the keys of a result are defined in
:data:`fedsim.results.columns.FINETUNE`. A result with the same checkpoint, settings and seed as one
that is there takes its place. The tables of the run stay as they are: WER within a run, on its
clock, is in ``convergence.parquet``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fedsim import files
from fedsim.errors import FedsimError, RunError
from fedsim.results.columns import FINETUNE
from fedsim.results.reading import read_json

FILE = "finetune.json"
FORMAT = 1
_SAME = ("rounds_done", "seed", "settings", "checkpoint_sha256")


def read(directory: Path) -> list[dict[str, Any]]:
    """The results in a run directory, in order of round and seed; none if nobody fine-tuned.

    Raises:
        RunError: if the file is damaged.
    """
    file = directory / FILE
    if not file.exists():
        return []
    held = read_json(file)
    results = held.get("results")
    if held.get("format") != FORMAT or not isinstance(results, list):
        raise RunError(f"is damaged: it is not a list of results in format {FORMAT}", file=file)
    for result in results:
        if not isinstance(result, dict) or set(result) != set(FINETUNE):
            raise RunError(f"is damaged: a result lacks one of {', '.join(FINETUNE)}", file=file)
    return results


def add(directory: Path, results: Iterable[Mapping[str, Any]]) -> Path:
    """Add results, whole or not at all, and return the file.

    Raises:
        RunError: if the file that is there is damaged.
        FedsimError: if the disk refuses.
    """
    new = [dict(result) for result in results]
    if any(set(result) != set(FINETUNE) for result in new):
        raise ValueError(f"a result has the keys {', '.join(FINETUNE)}")
    kept = [old for old in read(directory) if not any(_same(old, result) for result in new)]
    merged = sorted([*kept, *new], key=lambda result: (result["rounds_done"], result["seed"]))
    try:
        files.write_json(directory / FILE, {"format": FORMAT, "results": merged})
    except OSError as fault:
        raise FedsimError(f"{directory / FILE}: cannot be written: {fault.strerror}") from None
    return directory / FILE


def _same(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return all(old[key] == new[key] for key in _SAME)
