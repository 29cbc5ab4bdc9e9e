"""What a sweep tells while it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from fedsim import progress
from fedsim.scenario.sweep import said


class Progress(Protocol):
    """What is told how a sweep goes on; see :class:`fedsim.progress.Silent`."""

    def begin(self, total: int, done: int) -> None: ...

    def note(self, text: str) -> None: ...

    def point(self, parameters: Mapping[str, Any], fault: str | None) -> None:
        """A point is done, or has failed."""

    def end(self) -> None: ...


class Silent(progress.Silent):
    """Says nothing."""

    def point(self, parameters: Mapping[str, Any], fault: str | None) -> None: ...


class Told:
    """A sweep in words.

    Args:
        line: where they go.
    """

    def __init__(self, line: progress.Silent) -> None:
        self._line = line
        self._failed = 0

    def begin(self, total: int, done: int) -> None:
        self._line.begin(total, done)

    def note(self, text: str) -> None:
        self._line.note(text)

    def end(self) -> None:
        self._line.end()

    def point(self, parameters: Mapping[str, Any], fault: str | None) -> None:
        self._line.done += 1
        if fault is not None:
            self._failed += 1
            self._line.stay(f"failed at {said(parameters)}: {fault}")
        failed = f", {self._failed} failed" if self._failed else ""
        left = self._line.left()
        self._line.show(
            f"point {self._line.done}/{self._line.total}{failed}{f', left {left}' if left else ''}",
            said(parameters),
        )


def choose(quiet: bool = False) -> Progress:
    """A live line if standard error is a terminal, lines for a log if not, nothing if ``quiet``."""
    return Silent() if quiet else Told(progress.choose())
