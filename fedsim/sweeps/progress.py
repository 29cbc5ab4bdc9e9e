"""Telling a person how a sweep goes on: one live line on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any, Protocol

from fedsim.scenario.sweep import said
from fedsim.units import format_duration

QUIET_INTERVAL_S = 15.0


class Progress(Protocol):
    """What a sweep tells while it goes on."""

    def begin(self, points: int, done: int) -> None:
        """There are ``points`` in all, of which ``done`` need no computing."""
        ...

    def note(self, text: str) -> None:
        """Something that takes a while is beginning."""
        ...

    def point(self, parameters: Mapping[str, Any], fault: str | None) -> None:
        """A point is done, or has failed."""
        ...

    def end(self) -> None:
        """There is nothing more to tell."""
        ...


class Silent:
    """Says nothing."""

    def begin(self, points: int, done: int) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def point(self, parameters: Mapping[str, Any], fault: str | None) -> None:
        """Say nothing."""

    def end(self) -> None:
        """Say nothing."""


class Piped:
    """Lines on standard error: each failure, and how far it is every quarter of a minute."""

    def __init__(self) -> None:
        self._points = self._first = self._done = self._failed = 0
        self._began = self._last = time.monotonic()

    def begin(self, points: int, done: int) -> None:
        """Start counting."""
        self._points, self._first, self._done = points, done, done
        self._began = self._last = time.monotonic()

    def note(self, text: str) -> None:
        """Print it."""
        print(text, file=sys.stderr, flush=True)

    def point(self, parameters: Mapping[str, Any], fault: str | None) -> None:
        """Print a failure, and the state if it is time."""
        self._done += 1
        if fault is not None:
            self._failed += 1
            self.note(f"failed at {said(parameters)}: {fault}")
        if time.monotonic() - self._last >= QUIET_INTERVAL_S or self._done == self._points:
            self._last = time.monotonic()
            self.note(self.state())

    def state(self) -> str:
        """How far it is, in words."""
        rest = self._points - self._done
        took_s = time.monotonic() - self._began
        left_s = took_s / max(1, self._done - self._first) * rest
        left = f", left {format_duration(max(1, round(left_s)))}" if rest and self._done > self._first else ""
        failed = f", {self._failed} failed" if self._failed else ""
        return f"point {self._done}/{self._points}{failed}{left}"

    def end(self) -> None:
        """Nothing is left open."""


class Terminal(Piped):
    """One line that is rewritten in place, with a bar; failures stay above it."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        self._bar = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=20),
            TextColumn("{task.description}", markup=False),
            console=Console(stderr=True, highlight=False),
            transient=True,
        )
        self._task = self._bar.add_task("", total=None)
        self._bar.start()

    def begin(self, points: int, done: int) -> None:
        """Show how much there is."""
        super().begin(points, done)
        self._bar.update(self._task, total=points, completed=done)

    def note(self, text: str) -> None:
        """Show it beside the bar."""
        self._bar.update(self._task, description=text)

    def point(self, parameters: Mapping[str, Any], fault: str | None) -> None:
        """Show the state, and a failure above it."""
        self._done += 1
        if fault is not None:
            self._failed += 1
            self._bar.console.print(f"failed at {said(parameters)}: {fault}", markup=False, soft_wrap=True)
        text = f"{self.state()}  {said(parameters)}"
        self._bar.update(self._task, description=text, completed=self._done)

    def end(self) -> None:
        """Take the line away."""
        self._bar.stop()


def choose(quiet: bool = False) -> Progress:
    """A live line if standard error is a terminal, lines for a log if not, nothing if ``quiet``."""
    if quiet:
        return Silent()
    return Terminal() if sys.stderr.isatty() else Piped()
