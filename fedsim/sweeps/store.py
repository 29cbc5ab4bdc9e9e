"""What was computed before, on this machine: points by address, answers of learners by name.

The store lies in the cache folder (``$FEDSIM_CACHE``), under ``sweeps/``; it may be deleted at any
time, and what was not used for 30 days is dropped. A stored file that is not as it was written is
not used. A store that cannot be written to is silently no help.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path

from fedsim import files, locks, paths
from fedsim.errors import InputError
from fedsim.files import sha256
from fedsim.results import intervals
from fedsim.sweeps.work import TABLES

KEEP_S = 30 * 86_400.0
_KEPT = (*TABLES, "summary.json", "manifest.json")
_PERHAPS = (intervals.FILE,)


def put_file(source: Path, target: Path) -> None:
    """A second name for a file, or a copy where that is not possible."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


class Store:
    """Points and answers on disk.

    Args:
        root: the folder; None takes the usual one.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root if root is not None else paths.cache_dir() / "sweeps"

    def _point(self, address: str) -> Path:
        return self.root / "points" / address[:2] / address

    def fetch(self, address: str, directory: Path, scenario: str, name: str) -> bool:
        """Put the run of a point into ``directory``, if it is known.

        Args:
            address: of the point.
            directory: must not exist.
            scenario: the resolved scenario as YAML, for the run directory.
            name: of the run, for its manifest.
        """
        place = self._point(address)
        try:
            hashes = json.loads((place / "entry.json").read_text(encoding="utf-8"))
            perhaps = [file for file in _PERHAPS if file in hashes]
            if any(sha256(place / file) != hashes[file] for file in (*_KEPT, *perhaps)):
                raise ValueError
            manifest = json.loads((place / "manifest.json").read_text(encoding="utf-8"))
            directory.mkdir(parents=True)
            for file in (*TABLES, *perhaps):
                put_file(place / file, directory / file)
            now = datetime.now(timezone.utc).isoformat(timespec="seconds")
            manifest |= {"name": name, "volatile": {"created": now, "reused": True}}
            manifest["inputs"]["scenario"] = {"sha256": hashlib.sha256(scenario.encode("utf-8")).hexdigest()}
            files.write_text(directory / "scenario.yaml", scenario)
            files.write_json(directory / "manifest.json", manifest)
            files.write_bytes(directory / "summary.json", (place / "summary.json").read_bytes())
            os.utime(place)
        except (OSError, ValueError, KeyError, TypeError, InputError):
            shutil.rmtree(directory, ignore_errors=True)
            return False
        return True

    def keep(self, address: str, directory: Path) -> None:
        """Remember the finished run of a point."""
        place = self._point(address)
        with contextlib.suppress(OSError, InputError):
            place.parent.mkdir(parents=True, exist_ok=True)
            with locks.scratch(self.root, ".making-") as work:
                kept = [*_KEPT, *(file for file in _PERHAPS if (directory / file).is_file())]
                for file in kept:
                    put_file(directory / file, work / file)
                entry = {file: sha256(work / file) for file in kept}
                (work / "entry.json").write_text(json.dumps(entry), encoding="utf-8")
                if place.is_dir():
                    shutil.rmtree(place)
                work.replace(place)

    def answers(self, origin: str, names: Iterable[str] | None) -> dict[str, str]:
        """The known answers of a trajectory by name, as lines.

        Args:
            origin: of the trajectory.
            names: which ones; None for all there are.
        """
        folder = self.root / "learning" / origin
        found: dict[str, str] = {}
        if not folder.is_dir():
            return found
        with contextlib.suppress(OSError):
            os.utime(folder)
        wanted = (path.stem for path in folder.glob("*.json")) if names is None else names
        for name in wanted:
            with contextlib.suppress(OSError, ValueError, KeyError):
                line = (folder / f"{name}.json").read_text(encoding="utf-8")
                if json.loads(line)["name"] == name:
                    found[name] = line
        return found

    def learn(self, origin: str, answers: Mapping[str, str]) -> None:
        """Remember answers of a trajectory by name."""
        folder = self.root / "learning" / origin
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            for name, line in answers.items():
                if not (folder / f"{name}.json").is_file():
                    files.write_text(folder / f"{name}.json", line)

    def prune(self, now_s: float | None = None) -> None:
        """Drop what was not used for :data:`KEEP_S`, and what crashes left."""
        with contextlib.suppress(OSError):
            locks.remove_abandoned(self.root, ".making-")
            for folder in self.root.glob("learning/*"):
                files.remove_temporary(folder, shared=True)
        before = (time.time() if now_s is None else now_s) - KEEP_S
        for pattern in ("points/*/*", "learning/*"):
            for entry in self.root.glob(pattern):
                with contextlib.suppress(OSError):
                    if entry.stat().st_mtime < before:
                        shutil.rmtree(entry)
