"""A table of recordings, row by row: what cannot be used is skipped, counted and named like a recording.

A table in which that is more than a tenth is not what it was taken for, and an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from fedsim.errors import CorpusError
from fedsim.tasks.speech.corpus.listing import Listing, Recording
from fedsim.words import plural

MOST_SKIPPED = 0.1  # of the rows


def read(
    file: Path,
    rows: Iterable[tuple[int, list[str]]],
    required: Sequence[str],
    recording: Callable[[dict[str, str], str], Recording | str | None],
) -> Listing:
    """The recordings of a table that begins with the names of its columns.

    Args:
        file: the table, for messages.
        rows: the number of the line in which each row begins, from 1, and its cells; a row without cells
            is none. No row at all is a table without recordings.
        required: columns that must be there.
        recording: makes one of a row's cells by column, without white space around them, and of where it
            stands (``line 7``); or a reason why not (``has no path``); or None: it is not asked for.

    Raises:
        CorpusError: if a column is missing or named twice, or more than a tenth of the rows cannot be used,
            with the line of the first; or ``recording`` raises it.
    """
    columns: list[str] | None = None
    recordings: list[Recording] = []
    faults: list[tuple[int, str]] = []
    total = 0
    for line, cells in rows:
        if columns is None:
            columns = _header(file, cells, required)
            continue
        if not cells:
            continue
        total += 1
        found: Recording | str | None
        if len(cells) != len(columns):
            found = f"has a different number of cells than the header: {len(cells)}, not {len(columns)}"
        else:
            stripped = (cell.strip() for cell in cells)
            found = recording(dict(zip(columns, stripped, strict=True)), f"line {line}")
        if isinstance(found, str):
            faults.append((line, found))
        elif found is not None:
            recordings.append(found)
    if len(faults) > MOST_SKIPPED * total:
        line, why = faults[0]
        unused = f"{len(faults)} of {plural(total, 'row')} cannot be used"
        said = f"{why}; {unused}, at most {MOST_SKIPPED:.0%} may be so"
        raise CorpusError(said, file=file, key=f"line {line}")
    return Listing(recordings, [(f"line {line} of {file.name}", why) for line, why in faults])


def _header(file: Path, cells: list[str], required: Sequence[str]) -> list[str]:
    columns = [name.strip() for name in cells]
    missing = [name for name in required if name not in columns]
    if missing:
        raise CorpusError(f"lacks the column {missing[0]!r}; {','.join(required)} are needed", file=file)
    if len(set(columns)) != len(columns):
        raise CorpusError("names a column twice", file=file)
    return columns
