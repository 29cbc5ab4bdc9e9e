"""A speech manifest: a CSV file that lists recordings.

Columns ``path,speaker,text`` and optionally ``split`` (train, validation, test), ``client`` and
``language``, by header, in any order; other columns are ignored. Paths are relative to the
manifest and stay inside its folder unless the scenario allows otherwise.
"""

from __future__ import annotations

import csv
from pathlib import Path

from fedsim import files
from fedsim.errors import CorpusError
from fedsim.tasks.speech.corpus import listing, store
from fedsim.tasks.speech.corpus.options import Listed

REQUIRED = ("path", "speaker", "text")


def load(spec: Listed) -> store.Corpus:
    """The corpus that the manifest ``spec.path`` lists.

    Raises:
        CorpusError: naming file and line, if the manifest cannot be used or nothing is left of it.
    """
    file = Path(spec.path)
    return listing.build(read(file, spec), spec, file)


def read(file: Path, spec: Listed) -> list[listing.Recording]:
    """The recordings that a manifest lists, in order; see :func:`load`."""
    recordings = []
    text = files.lines(file, CorpusError, listing.MOST_BYTES)
    try:
        rows = csv.DictReader(text, strict=True)
        columns = [name.strip() for name in rows.fieldnames or []]
        missing = [name for name in REQUIRED if name not in columns]
        if missing:
            raise CorpusError(f"lacks the column {missing[0]!r}; path,speaker,text are needed", file=file)
        if len(set(columns)) != len(columns):
            raise CorpusError("names a column twice", file=file)
        rows.fieldnames = columns
        for row in rows:
            found = _recording(row, file, rows.line_num, spec)
            if found is not None:
                recordings.append(found)
    except csv.Error as fault:
        raise CorpusError(f"is not a CSV file that can be read: {fault}", file=file) from None
    finally:
        text.close()
    if not recordings and spec.language is not None:
        raise CorpusError(f"lists no recordings in {spec.language!r}", file=file)
    return recordings


def _recording(row: dict[str, str], file: Path, line: int, spec: Listed) -> listing.Recording | None:
    cells = {name: (value or "").strip() for name, value in row.items() if isinstance(name, str)}
    where = f"line {line}"
    if None in row or any(value is None for value in row.values()):
        raise CorpusError("has a different number of cells than the header", file=file, key=where)
    for name in ("path", "speaker"):
        if not cells[name]:
            raise CorpusError(f"has an empty {name}", file=file, key=where)
    split = cells.get("split", "")
    if split and split not in store.SPLITS:
        raise CorpusError(f"has split {split!r}; one of {', '.join(store.SPLITS)}", file=file, key=where)
    if spec.language is not None and cells.get("language", spec.language) != spec.language:
        return None
    folder = file.resolve().parent
    try:
        path = (folder / cells["path"]).resolve()
    except (OSError, ValueError, RuntimeError):
        raise CorpusError("has a path that cannot be followed", file=file, key=where) from None
    if not spec.outside and not path.is_relative_to(folder):
        raise CorpusError(
            f"has the path {cells['path']!r} outside the manifest's folder; {listing.ALLOW}",
            file=file,
            key=where,
        )
    language = cells.get("language") or spec.language or ""
    return listing.Recording(
        path, cells["path"], cells["speaker"], cells["text"], split, cells.get("client", ""), language
    )
