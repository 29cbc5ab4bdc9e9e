"""A comparison in the terminal: plain text when piped; nothing of a run is read as markup."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.text import Text

from fedsim import printing
from fedsim.printing import Column
from fedsim.report.compare import tables
from fedsim.report.compare.tables import Compared, Table
from fedsim.report.text import name
from fedsim.words import plural

#: Most differing keys that are listed; the page lists all.
MOST_KEYS = 30
#: From this many runs on, the values of a key stand below each other.
_SIDE_BY_SIDE = 3
#: Columns that are spared first where the width is short; what is not named here is spared last.
_SPARE = {"traffic": 3, "rounds": 2, "of least": 1, "90%": 1, "a round": 1, "client-rounds": 1}


def summary(compared: Compared, page: Path | None = None) -> Group:
    """What to print; ``page`` is where the page is, if one was written."""
    parts: list[RenderableType] = [
        Text(f"{len(compared.entries)} runs", style="bold cyan"),
        Text(tables.headline(compared), style="bold"),
        *(Text(said) for said in tables.remarks(compared)),
        *(_table(table) for table in tables.overview(compared.entries)),
    ]
    for target, found in compared.targets:
        words = target.words[0].upper() + target.words[1:]
        parts += [Text.assemble((words, "bold"), "  ", (tables.note(target), "dim"))]
        parts += [_table(tables.target_table(target, found))]
    if compared.differences:
        parts += [Text("What differs", style="bold"), _differences(compared)]
    if page is not None:
        parts.append(Text.assemble(("Page: ", "bold"), str(page), overflow="fold"))
    return Group(*parts)


def _table(table: Table) -> Group:
    """A table of figures: a label on the left, the rest on the right, and an empty line below."""
    headings = table.headings
    made = printing.Table(Column(headings[0], words=True))
    for before, heading in pairwise(headings):
        twice = f"{heading} ({before})" if headings.count(heading) > 1 else ""
        made.columns.append(Column(heading, spare=_SPARE.get(heading, 0), named=twice))
    for row in table.rows:
        made.row(*row)
    return Group(made, "")


def _differences(compared: Compared) -> RenderableType:
    table = tables.differences_table(compared)
    rows = table.rows[:MOST_KEYS]
    if len(compared.entries) <= _SIDE_BY_SIDE:
        shown: RenderableType = _left(Table(table.headings, rows))
    else:
        shown = Group(*(_listing(row, table.headings) for row in rows))
    more = len(table.rows) - len(rows)
    return Group(shown, Text(f"and {plural(more, 'more key')}")) if more > 0 else shown


def _left(table: Table) -> printing.Table:
    made = printing.Table(*(Column(heading, words=True) for heading in table.headings))
    for row in table.rows:
        made.row(*row)
    return made


def _listing(row: tuple[str, ...], headings: tuple[str, ...]) -> Text:
    """A key with each value once, and the runs that have it."""
    having: dict[str, list[str]] = {}
    for value, label in zip(row[1:], headings[1:], strict=True):
        having.setdefault(value, []).append(name(label, 34))
    lines = [f"\n    {value}: {', '.join(runs)}" for value, runs in having.items()]
    return Text.assemble("  ", (row[0], "bold"), *lines)


def show(compared: Compared, page: Path | None = None, console: Console | None = None) -> None:
    """Print a comparison and where its page lies."""
    printing.put(summary(compared, page), to=console)
