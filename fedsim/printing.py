"""What verbs print for people: the one way to print a table, in a window of any width and into a pipe.

A table is as wide as it needs to be where nothing limits it, and so it is in a pipe or a file. In a
narrow window headings wrap first, then words (names, reasons) fold over lines; figures and their units
are never cut. If that is not enough, the columns that are most easily spared stay away, and a line
below the table names them. Strings are shown as they are, never read as markup.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

#: Width of what is not a window: wider than anything that is printed.
UNLIMITED = 1_000_000
#: A column of words folds between words, and down to this width also within long ones, before a column
#: is left out.
FOLDED = 16
_GAP = 2
_LETTERS = str.maketrans({"█": "#", "▇": "#", "─": "-", "–": "-", "…": "."})

Cell = str | Text


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        heading: above it.
        words: whether it holds words, which stand left and may fold; figures stand right and never do.
        bar: whether it holds bars, which stand left and never fold.
        spare: columns with the largest go first where the width is short; of equals the rightmost.
        named: what the line below the table calls it, its heading by default; a column without
            either, such as one of bars, goes without a word.
    """

    heading: str = ""
    words: bool = False
    bar: bool = False
    spare: int = 0
    named: str = ""


class Table:
    """A table for people; the first column says what a row is about and is always there.

    Args:
        columns: from left to right; a string is the heading of a column of figures.
        title: a line above it.
    """

    def __init__(self, *columns: Column | str, title: str = "") -> None:
        self.columns = [Column(c) if isinstance(c, str) else c for c in columns]
        self.title = title
        self._rows: list[tuple[list[Text], bool]] = []

    def row(self, *cells: Cell, section: bool = False) -> None:
        """Add a row, a cell for each column; ``section`` sets it off from the rows above."""
        if len(cells) != len(self.columns):
            raise ValueError(f"{len(cells)} cells for {len(self.columns)} columns")
        self._rows.append(([c if isinstance(c, Text) else Text(c) for c in cells], section))

    def heading(self, words: str) -> None:
        """Add a row that is a heading of the rows below it."""
        first = Text(words, style="bold")
        self.row(first, *[""] * (len(self.columns) - 1))

    def _natural(self, place: int) -> int:
        texts = [self.columns[place].heading, *(cells[place].plain for cells, _ in self._rows)]
        return widest(line for text in texts for line in text.split("\n"))

    def _least(self, place: int) -> int:
        """The width below which a column is left out."""
        column, cells = self.columns[place], [cells[place].plain for cells, _ in self._rows]
        if column.words:
            return min(FOLDED, widest(word for text in (column.heading, *cells) for word in text.split()))
        return max(
            widest(column.heading.split()), widest(line for text in cells for line in text.split("\n"))
        )

    def _fitted(self, width: int) -> dict[int, int]:
        """The columns that are shown in ``width`` and the width of each."""
        kept = list(range(len(self.columns)))
        least = [self._least(place) for place in kept]
        while len(kept) > 2 and _total(least[place] for place in kept) > width:
            kept.remove(max(kept[1:], key=lambda place: (self.columns[place].spare, place)))
        widths = {place: self._natural(place) for place in kept}
        for words, floor in ((False, None), (True, None), (True, 1)):
            shrinks = [place for place in kept if self.columns[place].words is words]
            while _total(widths.values()) > width:
                wide = [place for place in shrinks if widths[place] > (floor or least[place])]
                if not wide:
                    break
                widths[max(wide, key=lambda place: (widths[place], place))] -= 1
        return widths

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        natural = _total(map(self._natural, range(len(self.columns))))
        return Measurement(min(natural, options.max_width), min(natural, options.max_width))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widths = self._fitted(options.max_width)
        shown = RichTable(
            box=None,
            padding=(0, _GAP, 0, 0),
            pad_edge=False,
            header_style="bold",
            show_header=any(self.columns[place].heading for place in widths),
        )
        for place, width in widths.items():
            column = self.columns[place]
            shown.add_column(
                Text(column.heading),
                width=width,
                justify="left" if column.words or column.bar else "right",
                overflow="fold",
                vertical="top",
            )
        for number, (cells, section) in enumerate(self._rows):
            if section and number:
                shown.add_row()
            shown.add_row(*(_folded(cells[place], width) for place, width in widths.items()))
        if self.title:
            yield Text(self.title, style="bold")
        yield shown
        gone = [c.named or c.heading for place, c in enumerate(self.columns) if place not in widths]
        if names := ", ".join(filter(None, gone)):
            yield Text(f"Not shown at this width: {names}", style="dim")


def widest(lines: Iterable[str]) -> int:
    """Terminal cells of the longest line."""
    return max(map(cell_len, lines), default=0)


def _folded(cell: Text, width: int) -> Text:
    """A cell with its lines broken between words and after hyphens where they are too long."""
    lines = cell.plain.split("\n")
    if widest(lines) <= width:
        return cell
    return Text("\n".join(piece for line in lines for piece in textwrap.wrap(line, width)), cell.style)


def _total(widths: Iterable[int]) -> int:
    each = list(widths)
    return sum(each) + _GAP * (len(each) - 1)


def console(quiet: bool = False) -> Console:
    """Standard output: as wide as its window, or without a limit if it is none."""
    plain = Console(highlight=False, quiet=quiet)
    return plain if plain.is_terminal else Console(highlight=False, quiet=quiet, width=UNLIMITED)


def put(*parts: RenderableType, to: Console | None = None) -> None:
    """Print tables and text below each other; strings are no markup.

    Without colours and spaces at the ends of lines where it is no terminal; with ``?`` for what
    cannot be shown where it knows no UTF-8.

    Args:
        parts: what to print.
        to: where, :func:`console` by default.
    """
    target = console() if to is None else to
    shown = Group(*(Text(part) if isinstance(part, str) else part for part in parts))
    utf = target.encoding.lower().startswith("utf")
    if target.quiet or (utf and target.is_terminal):
        target.print(shown)
        return
    plain = io.StringIO()
    Console(file=plain, width=target.width, highlight=False).print(shown)
    text = "\n".join(line.rstrip() for line in plain.getvalue().split("\n"))
    if not utf:
        text = text.translate(_LETTERS).encode(target.encoding, "replace").decode(target.encoding)
    target.file.write(text)
