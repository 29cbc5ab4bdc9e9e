"""Documents of a text corpus, read whole through the door for files from outside."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from fedsim import files
from fedsim.errors import CorpusError
from fedsim.tasks.language_model.options import PATTERN, PythonTopics, TextCorpus, TextFiles

__all__ = ["PATTERN", "documents", "listed"]

MOST_BYTES = 200 * files.MB
"""Of all documents together: as much again several times is needed to work with them."""
ALLOW = "if you trust it, add --allow-outside, or --set learning.corpus.outside=true"


def documents(corpus: TextCorpus) -> dict[str, str]:
    """The text of each document, by its name (of a file: its path within the folder).

    Raises:
        CorpusError: a file cannot be read or is not UTF-8 text, there is none, or they are too large.
    """
    if isinstance(corpus, PythonTopics):
        from pydoc_data.topics import topics

        return dict(topics)
    assert isinstance(corpus, TextFiles)
    path, found, left = Path(corpus.path), {}, MOST_BYTES
    for file in listed(path, corpus.pattern):
        if not corpus.outside and _leads_out(file, path):
            raise CorpusError(f"is a link that leads out of {str(path)!r}; {ALLOW}", file=file)
        if (size := files.size_of(file, CorpusError, MOST_BYTES)) > left:
            raise CorpusError(
                f"holds more than {MOST_BYTES / files.MB:g} MB of text in its files; take fewer", file=path
            )
        left -= size
        found[str(file.relative_to(path)) if path.is_dir() else file.name] = files.read_text(
            file, CorpusError, MOST_BYTES
        )
    return found


def listed(path: Path, pattern: str) -> list[Path]:
    """The file itself, or the files of a folder and those below it whose names match, by name.

    Raises:
        CorpusError: a folder cannot be read, or none of its files matches.
    """
    if not path.is_dir():
        return [path]
    found = sorted(file for file in _walk(path) if fnmatchcase(file.name, pattern))
    if not found:
        raise CorpusError(
            f"holds no file whose name matches {pattern!r}; learning.corpus.pattern says which to take",
            file=path,
        )
    return found


def _walk(folder: Path) -> Iterator[Path]:
    def refuse(fault: OSError) -> None:
        raise CorpusError(f"cannot be read: {fault.strerror}", file=fault.filename)

    for where, _, names in os.walk(folder, onerror=refuse):
        yield from (Path(where, name) for name in names)


def _leads_out(file: Path, path: Path) -> bool:
    try:
        return file.is_symlink() and path.is_dir() and not file.resolve().is_relative_to(path.resolve())
    except (OSError, RuntimeError):  # a loop of links; reading it says so
        return False
