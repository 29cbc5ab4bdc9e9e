"""A sweep's directory: what was asked, what became of each point, and where its run lies."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from fedsim import yamlfile
from fedsim.errors import FedsimError, RunError, ScenarioError
from fedsim.results import atomic
from fedsim.results.manifest import versions
from fedsim.results.parts import Lock
from fedsim.results.reading import read_json
from fedsim.scenario.sweep import Point, Sweep, make, shown
from fedsim.sweep.table import Row

FORMAT = 1
_SLUG = 60


def place(directory: Path, point: Point, points: int) -> Path:
    """The run directory of a point: its number, and its parameters as far as they fit."""
    words = "-".join(shown(value) for value in point.parameters.values())
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", words).strip("-.")[:_SLUG].strip("-.")
    return directory / "points" / f"{point.number:0{len(str(points - 1))}d}-{slug}"


def begin(directory: Path, sweep: Sweep, addresses: Sequence[str], command: Sequence[str]) -> Lock:
    """Make a sweep's directory and write down what is asked, and the address of every point.

    Raises:
        RunError: if there is something in it already.
        FedsimError: if the disk refuses.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        taken = next(directory.iterdir(), None)
        if (directory / "sweep.json").is_file():
            raise RunError(
                "already holds a sweep; choose another directory, or go on with it by fedsim sweep --resume",
                file=directory,
            )
        if taken is not None:
            raise RunError("is not empty; choose a new directory for the sweep", file=directory)
        lock = hold(directory)
        atomic.write_text(directory / "sweep.yaml", yamlfile.dump(sweep.data))
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        said = {
            "format": FORMAT,
            "name": sweep.name,
            "versions": versions(),
            "points": _entries(directory, [Row(p, addresses[p.number], None, None) for p in sweep.points]),
            "volatile": {"created": now, "command": list(command), "folder": str(sweep.folder.resolve())},
        }
        atomic.write_json(directory / "sweep.json", said)
    except (FileExistsError, NotADirectoryError):
        raise RunError("is not a directory", file=directory) from None
    except OSError as fault:
        raise FedsimError(f"{directory}: cannot be written: {fault.strerror or fault}") from None
    return lock


def hold(directory: Path) -> Lock:
    """Hold a sweep's directory for this process.

    Raises:
        RunError: if another process is writing the sweep.
    """
    points = directory / "points"
    points.mkdir(exist_ok=True)
    return Lock(points)


def read(directory: Path) -> tuple[Sweep, dict[str, Any]]:
    """The sweep of a directory, and its ``sweep.json``.

    Raises:
        RunError: if there is no sweep, or what is there is damaged.
        ScenarioError: if its scenario can no longer be read.
    """
    file = directory / "sweep.json"
    if not file.is_file():
        raise RunError("holds no sweep to go on with: it has no sweep.json", file=directory)
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        folder = Path(said["volatile"]["folder"])
        form = said["format"]
    except (OSError, ValueError, KeyError, TypeError):
        raise RunError("is damaged", file=file) from None
    if form != FORMAT:
        raise RunError(f"has format {form!r}; this fedsim reads format {FORMAT}", file=file)
    data = yamlfile.load(directory / "sweep.yaml", ScenarioError)
    return make(data, folder / "sweep.yaml"), said


def renew(directory: Path, sweep: Sweep, addresses: Sequence[str], said: dict[str, Any]) -> None:
    """Remove what an interrupted sweep left at points whose address no longer holds, and note the new ones.

    Raises:
        RunError: if ``sweep.json`` is damaged.
    """
    try:
        held = {entry["directory"]: entry["address"] for entry in said["points"]}
    except (KeyError, TypeError):
        raise RunError("is damaged", file=directory / "sweep.json") from None
    for point in sweep.points:
        run = place(directory, point, len(sweep.points))
        if run.is_dir() and held.get(str(run.relative_to(directory))) != addresses[point.number]:
            shutil.rmtree(run)
    said["points"] = _entries(directory, [Row(p, addresses[p.number], None, None) for p in sweep.points])
    said["versions"] = versions()
    atomic.write_json(directory / "sweep.json", said)


def finish(directory: Path, rows: Sequence[Row], reuse: dict[str, Any]) -> None:
    """Write down what became of each point, and what was reused."""
    said = read_json(directory / "sweep.json")
    said["points"] = _entries(directory, sorted(rows, key=lambda row: row.point.number))
    said["volatile"] = {**said["volatile"], **reuse}
    atomic.write_json(directory / "sweep.json", said)


def _entries(directory: Path, rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [
        {
            "point": row.point.number,
            "directory": str(place(directory, row.point, len(rows)).relative_to(directory)),
            "status": row.status,
            "message": row.fault or "",
            "address": row.address,
            "parameters": dict(row.point.parameters),
        }
        for row in rows
    ]
