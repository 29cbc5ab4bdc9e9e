"""Reading one mapping of a YAML file strictly, key by key.

A :class:`Section` hands out values and remembers which keys were asked for; :meth:`Section.close`
refuses those that nobody asked for. Every complaint names the file, the key path, what was found
and what would be accepted. Nothing here has a default that a file does not state: an optional key
that is absent is ``None``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from fedsim import yamlfile
from fedsim.errors import HardwareError
from fedsim.words import did_you_mean, shown


def close_matches(name: str, known: Sequence[str]) -> str:
    """``; did you mean 'a' or 'b'?`` or, without a near name, ``; known: ...``."""
    if near := did_you_mean(name, known):
        return f"; {near}"
    return "; known: " + ", ".join(known) if known else ""


class Section:
    """A mapping inside a hardware file.

    Args:
        data: what the file holds at this place.
        file: the file, for messages.
        path: the dotted key path of this place; empty for the whole file.
    """

    def __init__(self, data: object, file: str | Path, path: str = ""):
        self.file = str(file)
        self.path = path
        if not isinstance(data, dict):
            found = "is empty" if data is None else f"is {shown(data)}"
            self.fail(f"{found}; it has to be a mapping of keys to values")
        self.data: dict[str, Any] = data
        self.asked: set[str] = set()

    def where(self, key: str) -> str:
        """The key path of ``key`` in the whole file."""
        return f"{self.path}.{key}" if self.path else key

    def fail(self, message: str, key: str | None = None) -> NoReturn:
        """Raise a HardwareError about ``key``, or about the section itself."""
        where = self.where(key) if key is not None else self.path
        raise HardwareError(message, file=self.file, key=where or None)

    def has(self, key: str) -> bool:
        """Whether the file states ``key`` (and not as null)."""
        self.asked.add(key)
        return self.data.get(key) is not None

    def get(self, key: str, right: str) -> Any:
        """The value of ``key``; ``right`` says in words what it should be."""
        self.asked.add(key)
        if self.data.get(key) is None:
            self.fail(f"is missing; give {right}", key)
        return self.data[key]

    def text(self, key: str, right: str) -> str:
        """A text that is not blank."""
        value = self.get(key, right)
        if not isinstance(value, str) or not value.strip():
            self.fail(f"is {shown(value)}; give {right}", key)
        return value.strip()

    def choice(self, key: str, options: Sequence[str]) -> str:
        """One of ``options``."""
        right = "one of " + ", ".join(options)
        value = self.text(key, right)
        if value not in options:
            self.fail(f"is {shown(value)}; give {right}", key)
        return value

    def flag(self, key: str) -> bool:
        """``true`` or ``false``."""
        value = self.get(key, "true or false")
        if not isinstance(value, bool):
            self.fail(f"is {shown(value)}; give true or false", key)
        return value

    def year(self, key: str, low: int = 2005, high: int = 2035) -> int:
        """A whole year within ``low`` and ``high``."""
        right = f"a year from {low} to {high}"
        value = self.get(key, right)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.fail(f"is {shown(value)}; give {right}", key)
        return value

    def quantity(
        self, key: str, parse: Callable[[object], float], low: float, high: float, right: str
    ) -> float:
        """A number with a unit, at least ``low`` and at most ``high`` in SI units.

        Args:
            key: the key.
            parse: one of ``fedsim.units.parse_*``.
            low: smallest accepted value, in SI units.
            high: largest accepted value, in SI units.
            right: what would be right, in words, bounds included.
        """
        value = self.get(key, right)
        if isinstance(value, bool):
            self.fail(f"is {shown(value)}; give {right}", key)
        try:
            number = parse(value)
        except ValueError:
            self.fail(f"is {shown(value)}; give {right}", key)
        if not math.isfinite(number) or not low <= number <= high:
            self.fail(f"is {shown(value)}; give {right}", key)
        return number

    def number(self, key: str, low: float, high: float, right: str) -> float:
        """A plain number, at least ``low`` and at most ``high``."""
        value = self.get(key, right)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            self.fail(f"is {shown(value)}; give {right}", key)
        return float(value)

    def section(self, key: str, right: str) -> Section:
        """The mapping under ``key``."""
        return Section(self.get(key, right), self.file, self.where(key))

    def close(self) -> None:
        """Refuse every key that was never asked for."""
        for key in self.data:
            if key not in self.asked:
                self.fail("is not known here" + close_matches(str(key), sorted(self.asked)), str(key))


def load(path: Path) -> Section:
    """The whole of a hardware file as a section."""
    return Section(yamlfile.load(path, HardwareError), path)


def read_sources(root: Section, figures: Sequence[str]) -> dict[str, str]:
    """The ``sources`` of a file: one for every figure, under its own key or its section's.

    Args:
        root: the whole file.
        figures: the dotted keys of the figures that the file states.

    Returns:
        The sources as the file keys them.
    """
    sources = root.section("sources", "a mapping from each figure to where it comes from")
    result: dict[str, str] = {}
    for key in list(sources.data):
        result[key] = sources.text(key, "where the figure comes from, or 'estimated: why'")
        if not any(figure == key or figure.startswith(key + ".") for figure in figures):
            sources.fail(
                "has a source but no figure in this file"
                + close_matches(key, sorted({*figures, *(f.partition(".")[0] for f in figures)})),
                key,
            )
    for figure in figures:
        if source_of(result, figure) is None:
            root.fail(
                f"has no source; give one under sources.{figure} (a document, or 'estimated: why')",
                figure,
            )
    return result


def source_of(sources: Mapping[str, str], figure: str) -> str | None:
    """The source of a figure: its own, or that of the section it stands in; None without either."""
    key = figure
    while key:
        if key in sources:
            return sources[key]
        key = key.rpartition(".")[0]
    return None
