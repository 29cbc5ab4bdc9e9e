"""A speech manifest: a CSV file that lists recordings.

Columns ``path,speaker,text`` and optionally ``split`` (train, validation, test), ``client`` and
``language``, by header, in any order; other columns are ignored. Paths are relative to the
manifest and stay inside its folder unless the scenario allows otherwise.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from fedsim import files
from fedsim.errors import CorpusError
from fedsim.tasks.speech.corpus import listing, store, table
from fedsim.tasks.speech.corpus.options import Listed

REQUIRED = ("path", "speaker", "text")


def load(spec: Listed) -> store.Corpus:
    """The corpus that the manifest ``spec.path`` lists.

    Raises:
        CorpusError: naming file and line, if the manifest cannot be used or nothing is left of it.
    """
    file = Path(spec.path)
    return listing.build(read(file, spec), spec, file)


def read(file: Path, spec: Listed) -> listing.Listing:
    """The recordings that a manifest lists, in order; see :func:`load`."""
    files.size_of(file, CorpusError, listing.MOST_BYTES)
    folder = file.resolve().parent

    def recording(cells: dict[str, str], where: str) -> listing.Recording | str | None:
        for name in ("path", "speaker"):
            if not cells[name]:
                return f"has an empty {name}"
        split = cells.get("split", "")
        if split and split not in store.SPLITS:
            return f"has split {split!r}; one of {', '.join(store.SPLITS)}"
        if spec.language is not None and cells.get("language", spec.language) != spec.language:
            return None
        try:
            path = (folder / cells["path"]).resolve()
        except (OSError, ValueError, RuntimeError):
            return "has a path that cannot be followed"
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

    found = table.read(file, _rows(file), REQUIRED, recording)
    if not found.recordings and spec.language is not None:
        raise CorpusError(f"lists no recordings in {spec.language!r}", file=file)
    return found


def _rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """The line in which each row of the CSV file begins, and its cells."""
    first = 1
    with closing(files.lines(file, CorpusError, listing.MOST_BYTES)) as text:
        rows = csv.reader(text, strict=True)
        try:
            for cells in rows:
                yield first, cells
                first = rows.line_num + 1
        except csv.Error as fault:
            said = f"begins a row that is not CSV: {fault}"
            raise CorpusError(said, file=file, key=f"line {first}") from None
