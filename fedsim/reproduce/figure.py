"""One figure of the paper beside ours."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

PAPER = Path(__file__).resolve().parent / "paper"


@dataclass(frozen=True)
class Figure:
    """A figure of the paper and what fedsim makes of it.

    Attributes:
        artifact: the table, figure or section, for example ``table1``.
        item: which figure of it, for example ``base/cnn_encoder/gflops``.
        paper: the paper's value; None where it states a shape or an order and no number.
        ours: the value that fedsim computed in this call; None if it is not a number.
        unit: of both values.
        how: how ours came about.
        holds: where the paper states no number, whether its statement holds for ours.
        comment: why ours differs, where it does.
    """

    artifact: str
    item: str
    paper: float | None
    ours: float | None
    unit: str
    how: str
    holds: bool | None = None
    comment: str = ""

    @property
    def relative_error(self) -> float | None:
        """(ours - paper) / paper; None where either is missing."""
        if self.paper is None or self.ours is None:
            return None
        return (self.ours - self.paper) / self.paper

    @property
    def differs(self) -> bool:
        """Whether ours is more than 5% from the paper's number, or its statement does not hold."""
        error = self.relative_error
        return self.holds is False or (error is not None and abs(error) > 0.05)

    def as_dict(self) -> dict[str, object]:
        """The record of ``fedsim reproduce --json``."""
        record: dict[str, object] = {
            "artifact": self.artifact,
            "item": self.item,
            "paper": self.paper,
            "ours": self.ours,
            "unit": self.unit,
            "relative_error": self.relative_error,
            "how": self.how,
        }
        if self.holds is not None:
            record["holds"] = self.holds
        if self.comment:
            record["comment"] = self.comment
        return record


def rows(name: str) -> Iterator[dict[str, str]]:
    """The rows of one of the paper's CSV files, comment lines left out."""
    with (PAPER / name).open(encoding="utf-8", newline="") as handle:
        yield from csv.DictReader(line for line in handle if not line.startswith("#"))


def commented(figures: Iterable[Figure], comments: Mapping[str, str]) -> list[Figure]:
    """Figures with why they differ; ``comments`` are by item, where ``*`` stands for anything.

    A comment explains what differs and nothing else, and none may be left over.
    """
    found = []
    used = set()
    for figure in figures:
        fitting = [at for at in comments if fnmatchcase(figure.item, at)] if figure.differs else []
        used.update(fitting[:1])
        found.append(replace(figure, comment=comments[fitting[0]]) if fitting else figure)
    assert used == set(comments), f"comments on nothing that differs: {sorted(set(comments) - used)}"
    return found
