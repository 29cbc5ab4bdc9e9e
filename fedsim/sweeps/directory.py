"""A sweep's directory: what was asked, what became of each point, and where its run lies."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from fedsim import checks, files, plugins, yamlfile
from fedsim.errors import RunError, ScenarioError, refused
from fedsim.files import sha256
from fedsim.locks import Lock
from fedsim.results.manifest import versions
from fedsim.results.reading import read_json
from fedsim.scenario.file_access import allowed, files_of
from fedsim.scenario.sweep import Point, Sweep, make, shown
from fedsim.simulation.repeats import MOST_ASKED
from fedsim.sweeps.table import Row

FORMAT = 1
_SLUG = 60


def place(directory: Path, point: Point, points: int) -> Path:
    """The run directory of a point: its number, and its parameters as far as they fit."""
    words = "-".join(shown(value) for value in point.parameters.values())
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", words).strip("-.")[:_SLUG].strip("-.")
    return directory / "points" / f"{point.number:0{len(str(points - 1))}d}-{slug}"


def begin(
    directory: Path, sweep: Sweep, addresses: Sequence[str], command: Sequence[str], draws: int = 0
) -> Lock:
    """Make a sweep's directory and write down what is asked, and the address of every point.

    What a sweep that was stopped before it began has left there is used again.

    Raises:
        RunError: if there is something in it already.
        FedsimError: if the disk refuses.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _refuse_what_is_there(directory)
    except (FileExistsError, NotADirectoryError):
        raise RunError("is not a directory", file=directory) from None
    except OSError as fault:
        raise refused(directory, fault) from None
    lock = hold(directory)
    try:
        _refuse_what_is_there(directory, ours=True)  # another sweep may have taken it meanwhile
        files.write_text(directory / "sweep.yaml", yamlfile.dump(sweep.data))
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        said = {
            "format": FORMAT,
            "name": sweep.name,
            "versions": versions(),
            "inputs": _inputs(sweep),
            "plugins": {label: sha256(path) for label, path in plugins.files().items()},
            "draws": draws,
            "points": _entries(directory, [Row(p, addresses[p.number], None, None) for p in sweep.points]),
            "volatile": {"created": now, "command": list(command), "folder": str(sweep.folder.resolve())},
        }
        files.write_json(directory / "sweep.json", said)
    except BaseException as fault:
        lock.close()
        if isinstance(fault, OSError):
            raise refused(directory, fault) from None
        raise
    return lock


def _refuse_what_is_there(directory: Path, ours: bool = False) -> None:
    """Refuse another sweep's directory; ``ours`` if we hold it by now."""
    if (directory / "sweep.json").is_file():
        if not ours and (directory / "points" / "lock").is_file():
            hold(directory).close()  # says who is writing it, if anybody is
        raise RunError(
            "already holds a sweep; choose another directory, or go on with it by "
            f"fedsim sweep --resume {shlex.quote(str(directory))}",
            file=directory,
        )
    if any(directory.iterdir()) and not _never_began(directory):
        raise RunError("is not empty; choose a new directory for the sweep", file=directory)


def _never_began(directory: Path) -> bool:
    """Whether all that a directory holds was left by a sweep that stopped before sweep.json was written."""
    found = {entry.name for entry in directory.iterdir()}
    ours = {"points", "sweep.yaml"} | {name for name in found if files.is_temporary(name)}
    if not found <= ours or "points" not in found:
        return False
    return all(entry.name == "lock" for entry in (directory / "points").iterdir())


def go_on(directory: Path) -> str:
    """What is kept of an interrupted sweep and how to go on with it, in words."""
    return f"finished points are kept; go on with: fedsim sweep --resume {shlex.quote(str(directory))}"


def hold(directory: Path) -> Lock:
    """Hold a sweep's directory for this process.

    Raises:
        RunError: if another process is writing the sweep.
    """
    points = directory / "points"
    try:
        points.mkdir(exist_ok=True)
        lock = Lock(points / "lock", directory)
        files.remove_temporary(directory)
    except OSError as fault:
        raise refused(directory, fault) from None
    return lock


def _inputs(sweep: Sweep) -> list[str]:
    """The SHA-256 of every file that a point names: what may be read again wherever it lies."""
    named = {path for point in sweep.points for path in files_of(checks.dump(point.scenario))}
    return sorted({sha256(path) for path in named})


def read(directory: Path, outside: bool = False) -> tuple[Sweep, dict[str, Any]]:
    """The sweep of a directory, and its ``sweep.json``.

    Args:
        directory: the sweep directory.
        outside: whether it may use files that it did not begin with, wherever they lie.

    Raises:
        RunError: if there is no sweep, or what is there is damaged.
        ScenarioError: if its scenario can no longer be read.
    """
    file = directory / "sweep.json"
    if not file.is_file():
        never = directory.is_dir() and (_never_began(directory) or not any(directory.iterdir()))
        raise RunError(
            "holds a sweep that was stopped before it began; start it again with: "
            f"fedsim sweep FILE --out {shlex.quote(str(directory))}"
            if never
            else "holds no sweep to go on with: it has no sweep.json",
            file=directory,
        )
    files.refuse_links(directory, RunError, depth=4)
    said = read_json(file)
    try:
        folder = Path(said["volatile"]["folder"])
        form, known = said["format"], frozenset(map(str, said["inputs"]))
        began_with = {str(label): str(digest) for label, digest in said.get("plugins", {}).items()}
    except (KeyError, TypeError, AttributeError):
        raise RunError("is damaged", file=file) from None
    if form != FORMAT:
        raise RunError(f"has format {form!r}; this fedsim reads format {FORMAT}", file=file)
    plugins.refuse_others(began_with, directory)
    data = yamlfile.load(directory / "sweep.yaml", ScenarioError)
    access = replace(allowed(outside), own=False, known=known)
    file = folder / "sweep.yaml"  # names of files are relative to it
    try:
        return make(data, file, access), said
    except ScenarioError as error:
        at = directory / "sweep.yaml" if error.file in (None, str(file)) else error.file
        raise ScenarioError(error.message, file=at, key=error.key) from None


def draws_of(directory: Path, said: dict[str, Any]) -> int:
    """How many draws a sweep began with, from its ``sweep.json``; an older one with none.

    Raises:
        RunError: if it says what cannot be.
    """
    draws = said.get("draws", 0)
    if type(draws) is not int or not 0 <= draws <= MOST_ASKED:
        right = f"it is a whole number up to {MOST_ASKED:,}"
        raise RunError(f"is damaged: {right}", file=directory / "sweep.json", key="draws")
    return draws


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
    files.write_json(directory / "sweep.json", said)


def finish(directory: Path, rows: Sequence[Row], reuse: dict[str, Any]) -> None:
    """Write down what became of each point, and what was reused."""
    said = read_json(directory / "sweep.json")
    said["points"] = _entries(directory, sorted(rows, key=lambda row: row.point.number))
    said["volatile"] = {**said["volatile"], **reuse}
    files.write_json(directory / "sweep.json", said)


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
