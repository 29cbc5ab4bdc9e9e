"""Addresses: what decides a result, as one hash.

A point's address covers its resolved scenario (name and description aside), the content of every
file that the scenario names, the data that ship with fedsim, the code that computes, and the
versions of the packages it uses. Two points with one address have the same tables, so one of them
need not be computed. The origin of a learning trajectory covers likewise what the learner is made
of; who delivered what is added to it call by call (:mod:`fedsim.sweeps.trajectory`).

Recordings of a corpus count by name, size and time of change, as the cache of corpora has it.
"""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from fedsim import checks, hardware, paths, plugins
from fedsim.files import sha256
from fedsim.results.manifest import versions
from fedsim.scenario import Scenario
from fedsim.scenario.file_access import file_keys, places
from fedsim.simulation.compose import federation_of

#: Rooms whose code has no part in a result.
_BYSTANDERS = ("cli", "report", "reproduce", "sweeps", "feasible", "measure", "tracing", "_data")


def digest(value: Any) -> str:
    """A hash of plain data."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode("utf-8"), digest_size=20).hexdigest()


def code() -> str:
    """A hash of the code that computes results, plug-ins included, its data, and package versions."""
    return digest([_own_code(), {label: sha256(path) for label, path in plugins.files().items()}])


@cache
def _own_code() -> str:
    package = Path(__file__).resolve().parent.parent
    files = {
        str(path.relative_to(package)): sha256(path)
        for path in sorted(package.rglob("*"))
        if path.suffix in (".py", ".json", ".csv") and path.relative_to(package).parts[0] not in _BYSTANDERS
    }
    for folder in ("hardware", "traces"):
        root = paths.data_dir(folder)
        files |= {
            f"{folder}/{path.relative_to(root)}": sha256(path)
            for path in sorted(root.rglob("*"))
            if path.suffix in (".yaml", ".csv", ".json")
        }
    machine = [platform.system(), platform.machine(), Path("/dev/nvidiactl").exists()]
    return digest([files, versions(), machine])


def content(scenario: Scenario) -> dict[str, Any]:
    """What a scenario says, with the content of each file in place of its path.

    Raises:
        InputError: if a file cannot be read.
    """
    data = checks.dump(replace(scenario, name="", description=""))
    for keys in file_keys():
        for block, key, _ in places(data, keys):
            if keys[:2] != ("learning", "corpus") and Path(block[key]).is_file():
                block[key] = _file(block[key], is_device=key == "device")
    if scenario.learning is not None:
        data["learning"] |= scenario.learning.content()
    return data


def _file(name: str, *, is_device: bool) -> Any:
    """The content of a file, with what a device file refers to."""
    found: list[Any] = [Path(name).stem, sha256(Path(name))]
    if is_device:
        device = hardware.load_device(name)
        found += [sha256(Path(file)) for file in device.measurement_files]
        if device.relative is not None and Path(device.relative).is_file():
            found.append(_file(device.relative, is_device=True))
    return found


def of_point(scenario: Scenario, draws: int = 0) -> str:
    """The address of a point whose clock is repeated under ``draws`` drawn speeds.

    Raises:
        InputError: if a file that the scenario names cannot be read.
    """
    return digest([code(), content(scenario), *([draws] if draws else [])])


def of_learning(scenario: Scenario) -> str | None:
    """The origin of a scenario's learning trajectory; None if it cannot be shared.

    A timing-only run learns nothing; a baseline has no federation whose deliveries could be equal.
    """
    federation = federation_of(scenario)
    if federation is None or federation.learning.baseline is not None:
        return None
    learning = checks.dump(federation.learning) | federation.learning.content()
    others = {f.name: repr(getattr(federation, f.name)) for f in fields(federation) if f.name != "learning"}
    return digest([code(), scenario.seed, learning, others])


def absolute(scenario: Scenario) -> dict[str, Any]:
    """The resolved scenario as plain data in which every file has its absolute path."""
    data = checks.dump(scenario)
    for keys in file_keys():
        for block, key, _ in places(data, keys):
            if Path(block[key]).exists():
                block[key] = str(Path(block[key]).resolve())
    return data


__all__ = ["absolute", "code", "content", "digest", "of_learning", "of_point"]
