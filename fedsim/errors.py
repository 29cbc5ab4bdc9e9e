"""The exception tree, and the rule that turns an error into one line and an exit code.

    FedsimError            exit code 1: something went wrong while running
    └── InputError         exit code 2: what the user gave cannot be used
        ├── ScenarioError  a scenario or sweep file, or an override on the command line
        ├── HardwareError  a device, link, trend or measurement file
        ├── TraceError     a layer trace, an availability trace, a length profile
        ├── CorpusError    data to learn from: a speech corpus, its manifest, text
        └── RunError       a run directory

An ``InputError`` names the file, the key path inside it, what was found and what would be
accepted, in one sentence. The command line prints it and never shows a traceback for it.

Work that can be gone on with after it was stopped says how: see :func:`going_on`.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MOST_CHARACTERS = 1000
"""Of a sentence; what is longer is cut in the middle."""

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What steers a terminal, turns text around, breaks a line, or is half a character."""


def one_line(text: object) -> str:
    """Text that a terminal shows as it is: one line, control characters spelled out, of bounded length."""
    whole = str(text)
    if len(whole) > MOST_CHARACTERS:
        half = MOST_CHARACTERS // 2
        whole = f"{whole[:half]} ... {whole[-half:]}"
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), whole)


class MovedKeyWarning(FutureWarning):
    """A key of a scenario goes by another name today; the command line says so in one line."""


class FedsimError(Exception):
    """Base of every error that fedsim raises on purpose.

    Attributes:
        way_on: what is kept and how to go on, to end the message with; empty if there is nothing to go
            on with.
    """

    exit_code = 1
    way_on = ""

    def __str__(self) -> str:
        return "; ".join(filter(None, [super().__str__(), self.way_on]))


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
        super().__init__(one_line(": ".join(part for part in (self.file, self.key, message) if part)))


class ScenarioError(InputError):
    """A scenario or sweep file, or an override of one, cannot be used."""


class HardwareError(InputError):
    """A device, link, trend or measurement file cannot be used."""


class TraceError(InputError):
    """A layer trace, an availability trace or a length profile cannot be used."""


class CorpusError(InputError):
    """Data to learn from cannot be used: a speech corpus, its manifest, text files."""


class RunError(InputError):
    """A run directory cannot be used."""


def refused(place: str | Path, fault: OSError, way_on: str = "") -> FedsimError:
    """The error for a place that could not be written: the user's if we may not, else nobody's.

    Args:
        place: what was to be written.
        fault: what the system said.
        way_on: see :class:`FedsimError`.
    """
    said = f"cannot be written: {fault.strerror or fault}"
    if fault.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        error: FedsimError = InputError(said, file=place)
    else:
        error = FedsimError(f"{place}: {said}")
    error.way_on = way_on
    return error


_ways_on: list[str] = []


def way_on() -> str:
    """How to go on if the work that is being done now were stopped; empty if nobody said."""
    return _ways_on[-1] if _ways_on else ""


@contextmanager
def going_on(sentence: str, place: Path) -> Iterator[None]:
    """Whatever stops the work inside tells the user how to go on with it.

    Args:
        sentence: what is kept and how to go on, such as ``finished rounds are kept; go on with: ...``.
        place: where the work is written.

    Raises:
        FedsimError: one that came from inside, with the sentence; or for a disk that refused.
    """
    _ways_on.append(sentence)
    try:
        yield
    except FedsimError as fault:
        fault.way_on = fault.way_on or sentence
        raise
    except OSError as fault:
        raise refused(place, fault, sentence) from None
    finally:
        _ways_on.pop()


@contextmanager
def about(file: str | Path | None = None, key: str | None = None) -> Iterator[None]:
    """What cannot be used, and names no file of its own, is said of ``file``; or no key, of ``key``."""
    try:
        yield
    except InputError as error:
        if error.file is not None:
            raise
        raise type(error)(error.message, file=file, key=error.key or key) from None
