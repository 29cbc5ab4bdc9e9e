"""Telling a person how work goes on: one live line on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time

from fedsim.errors import one_line
from fedsim.units import format_duration

QUIET_INTERVAL_S = 15.0


class Silent:
    """Counts, and says nothing.

    Attributes:
        total: how many steps there are in all.
        done: how many of them are done.
    """

    def __init__(self) -> None:
        self.total = self.done = self._first = 0
        self._began = time.monotonic()

    def begin(self, total: int, done: int) -> None:
        """``total`` steps will be done in all, of which ``done`` were finished earlier."""
        self.total, self.done, self._first = total, done, done
        self._began = time.monotonic()

    def left(self) -> str:
        """How long the rest will take, in words; empty if there is none or nobody can know."""
        rest, here = self.total - self.done, self.done - self._first
        if rest <= 0 or here <= 0:
            return ""
        return format_duration(max(1, round((time.monotonic() - self._began) / here * rest)))

    def note(self, text: str) -> None:
        """Something that takes a while is beginning."""

    def stay(self, text: str) -> None:
        """Something that has to stay before the reader's eyes."""

    def show(self, text: str, step: str = "") -> None:
        """The state after one more step, and what that was, if a live line has room for it."""

    def end(self) -> None:
        """There is nothing more to tell."""


class Piped(Silent):
    """A line on standard error every quarter of a minute, for logs."""

    def __init__(self) -> None:
        super().__init__()
        self._last = time.monotonic()

    def note(self, text: str) -> None:
        print(one_line(text), file=sys.stderr, flush=True)

    def stay(self, text: str) -> None:
        self.note(text)

    def show(self, text: str, step: str = "") -> None:
        if time.monotonic() - self._last >= QUIET_INTERVAL_S or self.done == self.total:
            self._last = time.monotonic()
            self.note(text)


class Terminal(Silent):
    """One line that is rewritten in place, with a bar; what stays is printed above it."""

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

    def begin(self, total: int, done: int) -> None:
        super().begin(total, done)
        self._bar.update(self._task, total=total, completed=done)

    def note(self, text: str) -> None:
        self._bar.update(self._task, description=one_line(text))

    def stay(self, text: str) -> None:
        self._bar.console.print(one_line(text), markup=False, soft_wrap=True)

    def show(self, text: str, step: str = "") -> None:
        self._bar.update(self._task, description=one_line(f"{text}  {step}".rstrip()), completed=self.done)

    def end(self) -> None:
        self._bar.stop()


def choose() -> Silent:
    """A live line if standard error is a terminal, lines for a log if not."""
    return Terminal() if sys.stderr.isatty() else Piped()
