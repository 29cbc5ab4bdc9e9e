"""What a run tells while it goes on."""

from __future__ import annotations

from typing import Protocol

from fedsim import progress
from fedsim.engine.records import RoundRecord
from fedsim.units import format_duration


class Progress(Protocol):
    """What is told how a run goes on; see :class:`fedsim.progress.Silent`."""

    def begin(self, total: int, done: int) -> None: ...

    def note(self, text: str) -> None: ...

    def round(self, record: RoundRecord) -> None:
        """A round has closed."""

    def end(self) -> None: ...


class Silent(progress.Silent):
    """Says nothing."""

    def round(self, record: RoundRecord) -> None: ...


class Told:
    """A run in words.

    Args:
        line: where they go.
    """

    def __init__(self, line: progress.Silent) -> None:
        self._line = line
        self._totals: dict[str, int] = {}
        self._validation = ""

    def begin(self, total: int, done: int) -> None:
        self._line.begin(total, done)

    def note(self, text: str) -> None:
        self._line.note(text)

    def end(self) -> None:
        self._line.end()

    def round(self, record: RoundRecord) -> None:
        self._line.done = record.index + 1
        for outcome, count in record.counts().items():
            self._totals[outcome] = self._totals.get(outcome, 0) + count
        for metric, split, value in record.metrics:
            if metric == "loss" and split == "validation":
                self._validation = f"  validation loss {value:.3f}"
        outcomes = ", ".join(f"{count} {name}" for name, count in self._totals.items() if count)
        left = self._line.left()
        self._line.show(
            f"round {self._line.done}/{self._line.total}  clock {format_duration(record.end_s)}"
            f"{self._validation}  {outcomes}{f'  left {left}' if left else ''}"
        )


def choose(quiet: bool = False) -> Progress:
    """A live line if standard error is a terminal, lines for a log if not, nothing if ``quiet``."""
    return Silent() if quiet else Told(progress.choose())
