"""Telling a person how a run goes on: one live line on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Protocol

from fedsim.engine.records import RoundRecord
from fedsim.errors import one_line
from fedsim.units import format_duration

QUIET_INTERVAL_S = 15.0


class Progress(Protocol):
    """What a run tells while it goes on."""

    def begin(self, rounds: int, done: int) -> None:
        """``rounds`` will be run in all, of which ``done`` were finished earlier."""
        ...

    def note(self, text: str) -> None:
        """Something that takes a while is beginning."""
        ...

    def round(self, record: RoundRecord) -> None:
        """A round has closed."""
        ...

    def end(self) -> None:
        """There is nothing more to tell."""
        ...


class Silent:
    """Says nothing."""

    def begin(self, rounds: int, done: int) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def round(self, record: RoundRecord) -> None:
        """Say nothing."""

    def end(self) -> None:
        """Say nothing."""


class Lines:
    """The state of a run in words; subclasses decide where and how often."""

    def __init__(self) -> None:
        self._rounds = self._first = self._done = 0
        self._began = time.monotonic()
        self._totals: dict[str, int] = {}
        self._validation = ""

    def begin(self, rounds: int, done: int) -> None:
        """Start counting."""
        self._rounds, self._first, self._done = rounds, done, done
        self._began = time.monotonic()

    def _describe(self, record: RoundRecord) -> str:
        self._done = record.index + 1
        for outcome, count in record.counts().items():
            self._totals[outcome] = self._totals.get(outcome, 0) + count
        for metric, split, value in record.metrics:
            if metric == "loss" and split == "validation":
                self._validation = f"  validation loss {value:.3f}"
        took = time.monotonic() - self._began
        rest = self._rounds - self._done
        left_s = took / max(1, self._done - self._first) * rest
        left = f"  left {format_duration(max(1, round(left_s)))}" if rest else ""
        outcomes = ", ".join(f"{count} {name}" for name, count in self._totals.items() if count)
        return (
            f"round {self._done}/{self._rounds}  clock {format_duration(record.end_s)}"
            f"{self._validation}  {outcomes}{left}"
        )


class Piped(Lines):
    """A line on standard error every quarter of a minute, for logs."""

    def __init__(self) -> None:
        super().__init__()
        self._last = time.monotonic()

    def note(self, text: str) -> None:
        """Print it."""
        print(one_line(text), file=sys.stderr, flush=True)

    def round(self, record: RoundRecord) -> None:
        """Print the state if it is time, or if this was the last round."""
        text = self._describe(record)
        if time.monotonic() - self._last >= QUIET_INTERVAL_S or self._done == self._rounds:
            self._last = time.monotonic()
            self.note(text)

    def end(self) -> None:
        """Nothing is left open."""


class Terminal(Lines):
    """One line that is rewritten in place, with a bar."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        self._bar = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=20),
            TextColumn("{task.description}", markup=False),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("", total=None)
        self._bar.start()

    def begin(self, rounds: int, done: int) -> None:
        """Show how much there is."""
        super().begin(rounds, done)
        self._bar.update(self._task, total=rounds, completed=done)

    def note(self, text: str) -> None:
        """Show it beside the bar."""
        self._bar.update(self._task, description=one_line(text))

    def round(self, record: RoundRecord) -> None:
        """Show the state."""
        self._bar.update(self._task, description=self._describe(record), completed=record.index + 1)

    def end(self) -> None:
        """Take the line away."""
        self._bar.stop()


def choose(quiet: bool = False) -> Progress:
    """A live line if standard error is a terminal, lines for a log if not, nothing if ``quiet``."""
    if quiet:
        return Silent()
    return Terminal() if sys.stderr.isatty() else Piped()
