"""``manifest.json``: what went into a run, so that anyone can tell whether two runs should agree.

What decides the result stands at the top level: seed, versions, hashes of every input file. What
differs from one run of the same thing to the next (time of day, command line, machine) stands under
``volatile``. No host name and no path is recorded beyond what the user typed.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from fedsim.errors import RunError
from fedsim.files import sha256
from fedsim.version import __version__

#: Since 4 clients have technique; since 3 startup_s, which was 0; since 2 a number that is not there is null;
#: in 1 it is NaN.
FORMAT = 4
READ = (1, 2, 3, FORMAT)
#: Columns of clients.parquet that run directories of an older format lack, by the format that brought them.
SINCE = {"startup_s": 3, "technique": 4}
_PACKAGES = ("torch", "transformers", "numpy", "scipy", "simpy", "pandas", "pyarrow", "networkx", "soxr")


def versions() -> dict[str, str]:
    """Versions of fedsim, Python and the packages that a result depends on; nothing is imported."""
    return dict(_versions())


@cache
def _versions() -> dict[str, str]:
    found = {"fedsim": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def manifest(
    name: str,
    seed: int,
    clients: int,
    inputs: Mapping[str, Path],
    command: Sequence[str] = (),
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The manifest of a run.

    Args:
        name: the scenario's name.
        seed: the run's seed.
        clients: the size of the fleet.
        inputs: every file that was read, by the label under which to list it: the path as the user
            gave it, or ``hardware/raspberry-pi-4.yaml`` for a catalogue file.
        command: the command line, as typed.
        extra: more that decides the result.

    Raises:
        InputError: if an input cannot be read.
    """
    return {
        "format": FORMAT,
        "name": name,
        "seed": int(seed),
        "clients": int(clients),
        "versions": versions(),
        "inputs": {label: {"sha256": sha256(inputs[label])} for label in sorted(inputs)},
        **(extra or {}),
        "volatile": {
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "command": list(command),
            "system": platform.system(),
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "byteorder": sys.byteorder,
        },
    }


def check_goes_on(found: Mapping[str, Any], file: Path) -> None:
    """Refuse an unfinished run of an older format: its rounds are stored as they are written no longer.

    Raises:
        RunError: it is one.
    """
    if found.get("format") != FORMAT:
        raise RunError("is of an older fedsim's run that has not finished; start that again", file=file)


def check_format(found: Mapping[str, Any], file: Path) -> None:
    """Refuse a run directory of another format.

    Raises:
        RunError: if the format is missing or is none that this fedsim reads.
    """
    if type(found.get("format")) is not int or found["format"] not in READ:
        raise RunError(
            f"has format {found.get('format')!r}; this fedsim reads formats {READ[0]} to {READ[-1]}",
            file=file,
        )
