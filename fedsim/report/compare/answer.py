"""A comparison as plain data, for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fedsim.files import json_ready
from fedsim.outcomes import OUTCOMES
from fedsim.report.compare.differences import differences
from fedsim.report.compare.gather import Entry, gather
from fedsim.report.compare.tables import Compared
from fedsim.report.compare.targets import parse, reach, usual
from fedsim.results.metrics import heard


def compare(paths: Sequence[str | Path], targets: Sequence[str] = ()) -> Compared:
    """Compare runs.

    Args:
        paths: two or more run directories.
        targets: such as ``loss=2.9``; none for the best values that every run reaches.

    Raises:
        InputError: a directory or a target that cannot be used.
    """
    entries = gather(paths)
    chosen = [parse(text, entries) for text in targets] if targets else usual(entries)
    reached = [(target, [reach(entry, target) for entry in entries]) for target in chosen]
    return Compared(entries, reached, differences(entries))


def answer(compared: Compared) -> dict[str, Any]:
    """What ``fedsim compare --json`` prints; figures in SI units, shares as shares."""
    result = {
        "runs": [_run(entry) for entry in compared.entries],
        "targets": [
            {
                "curve": target.curve,
                "value": target.value,
                "chosen": target.chosen,
                "runs": [asdict(one) for one in found],
            }
            for target, found in compared.targets
        ],
        "differences": [{"key": d.key, "values": list(d.values)} for d in compared.differences],
    }
    made = json_ready(result)
    assert isinstance(made, dict)
    return made


def _run(entry: Entry) -> dict[str, Any]:
    lengths = entry.rounds["end_s"] - entry.rounds["start_s"]
    columns = ("downloaded_bytes", "uploaded_bytes", "energy_j", "wasted_j")
    splits = [split for split in ("validation", "test") if heard(entry.run.manifest, split)]
    return {
        "run": entry.label,
        "path": str(entry.run.path),
        "name": entry.run.scenario.get("name"),
        "ended": entry.run.summary.get("ended"),
        "end_s": entry.end_s,
        "rounds": int(lengths.size),
        "mean_round_s": lengths.mean(),
        "client_rounds": entry.client_rounds,
        "outcomes": {word: int(entry.total(word)) for word in OUTCOMES},
        **{column: entry.total(column) for column in columns},
        "last": {curve: series.value[-1] for curve, series in entry.curves.items() if "." in curve},
        **({"heard": splits} if splits else {}),  # error rates on these are too low
    }
