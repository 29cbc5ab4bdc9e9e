"""What all files in ``hardware/`` have in common: a title, and a source for every figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from fedsim import checks, yamlfile
from fedsim.errors import HardwareError
from fedsim.options import Options, Text, option
from fedsim.words import nearest

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class HardwareFile(Options):
    """A device, a link or a trend as its file states it."""

    title: Text = option(right="what people call it")
    sources: dict[str, Text] = option(right="where each figure comes from, or 'estimated: why'")


def year() -> Any:
    """The field of a year."""
    return option(ge=2005, le=2035, right="a year from 2005 to 2035")


def read(cls: type[T], path: Path) -> T:
    """The options that a hardware file states.

    Raises:
        HardwareError: it is no YAML, or not of that form.
    """
    return checks.check(cls, yamlfile.load(path, HardwareError), file=path, error=HardwareError)


def refuse(path: Path, key: str, message: str) -> NoReturn:
    """Raise a HardwareError about a key of a file."""
    raise HardwareError(message, file=path, key=key)


def check_sources(path: Path, stated: Mapping[str, str], figures: Sequence[str]) -> None:
    """Refuse a figure without a source, and a source without a figure.

    Args:
        path: the file.
        stated: its sources.
        figures: the dotted keys of the figures that it states.

    Raises:
        HardwareError: there is one.
    """
    for key in stated:
        if not any(figure == key or figure.startswith(key + ".") for figure in figures):
            known = sorted({*figures, *(figure.partition(".")[0] for figure in figures)})
            refuse(path, f"sources.{key}", f"has a source but no figure in this file; {nearest(key, known)}")
    for figure in figures:
        if source_of(stated, figure) is None:
            right = f"give one under sources.{figure} (a document, or 'estimated: why')"
            refuse(path, figure, f"has no source; {right}")


def source_of(sources: Mapping[str, str], figure: str) -> str | None:
    """The source of a figure: its own, or that of the section it stands in; None without either."""
    key = figure
    while key:
        if key in sources:
            return sources[key]
        key = key.rpartition(".")[0]
    return None
