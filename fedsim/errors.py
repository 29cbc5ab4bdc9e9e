"""The exception tree, and the rule that turns an error into one line and an exit code.

    FedsimError            exit code 1: something went wrong while running
    └── InputError         exit code 2: what the user gave cannot be used
        ├── ScenarioError  a scenario or sweep file, or an override on the command line
        ├── HardwareError  a device, link, trend or measurement file
        ├── TraceError     a layer trace, an availability trace, a length profile
        ├── CorpusError    a speech corpus or its manifest
        └── RunError       a run directory

An ``InputError`` names the file, the key path inside it, what was found and what would be
accepted, in one sentence. The command line prints it and never shows a traceback for it.
"""

from __future__ import annotations

from pathlib import Path


class FedsimError(Exception):
    """Base of every error that fedsim raises on purpose."""

    exit_code = 1


class InputError(FedsimError):
    """What the user gave cannot be used.

    Args:
        message: what was found and what would be right, without file and key.
        file: the file that holds the fault, if there is one.
        key: the dotted key path inside the file, for example ``fleet.mix[1].share``.
    """

    exit_code = 2

    def __init__(self, message: str, *, file: str | Path | None = None, key: str | None = None):
        self.message = message
        self.file = str(file) if file is not None else None
        self.key = key
        super().__init__(": ".join(part for part in (self.file, self.key, message) if part))


class ScenarioError(InputError):
    """A scenario or sweep file, or an override of one, cannot be used."""


class HardwareError(InputError):
    """A device, link, trend or measurement file cannot be used."""


class TraceError(InputError):
    """A layer trace, an availability trace or a length profile cannot be used."""


class CorpusError(InputError):
    """A speech corpus or its manifest cannot be used."""


class RunError(InputError):
    """A run directory cannot be used."""
