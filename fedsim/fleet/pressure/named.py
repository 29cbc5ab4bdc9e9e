"""Named pressure: the programs that a file says, one of ``hardware/pressure`` or a user's own.

Every file in ``hardware/pressure`` is a kind by its name, so that to add one is to add a file.
"""

from __future__ import annotations

from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import Any, Literal

from fedsim import checks, paths, yamlfile
from fedsim.errors import ScenarioError
from fedsim.fleet.pressure.base import Pressure
from fedsim.fleet.pressure.programs import Programs
from fedsim.options import kind, option
from fedsim.words import slashes

FOLDER = "hardware/pressure"


@dataclass(frozen=True)
class File(Pressure):
    """As a file of the user's own says."""

    file: str = option(description="YAML with base, routine, bursts and spread, as in hardware/pressure")
    kind: Literal["file"] = kind("file")

    def files(self) -> list[Path]:
        """The one."""
        path = paths.find(self.file, FOLDER, ".yaml")
        if path is None:
            known = ", ".join(paths.names(FOLDER, ".yaml"))
            right = slashes(self.file, f"give the path of a YAML file, or one of {known}")
            raise ScenarioError(f"there is no pressure file {self.file!r}; {right}")
        return [path]

    def load(self) -> Pressure:
        """The programs of the file."""
        (path,) = self.files()
        return checks.check(Programs, yamlfile.load(path), file=path, error=ScenarioError).load()


class _Named(Pressure):
    """As the file of its name says."""

    def files(self) -> list[Path]:
        return File(self.name).files()

    def load(self) -> Pressure:
        return File(self.name).load()

    def __reduce__(self) -> Any:
        return named, (self.name,)


def _class_of(name: str) -> type[Pressure]:
    made = make_dataclass(name, [("kind", Literal[name], kind(name))], bases=(_Named,), frozen=True)
    made.__module__ = __name__
    made.__doc__ = f"As {FOLDER}/{name}.yaml says."
    return made


NAMED = {name: _class_of(name) for name in paths.names(FOLDER, ".yaml")}


def named(name: str) -> Pressure:
    """The model of a file in ``hardware/pressure``."""
    return NAMED[name]()
