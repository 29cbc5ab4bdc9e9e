"""Which text is learned from: one class a kind of corpus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedsim.options import Choice, kind, option

PATTERN = "*.txt"
EXAMPLES_AT_ONCE = 32
"""Examples that are evaluated in one batch."""


@dataclass(frozen=True, kw_only=True)
class TextCorpus(Choice):
    """The text that is really trained on."""

    point = "corpus"
    seed: int = option(0, "of what is held out, whatever the run's", ge=0)


@dataclass(frozen=True, kw_only=True)
class PythonTopics(TextCorpus):
    """The help topics that ship with Python (``pydoc_data.topics``), each a document; nothing to download."""

    kind: Literal["python-topics"] = kind("python-topics")


@dataclass(frozen=True, kw_only=True)
class TextFiles(TextCorpus):
    """Text files in UTF-8, each a document."""

    path: str = option(description="a text file, or a folder of them", min_length=1)
    pattern: str = option(PATTERN, "in a folder and those below it: the names to take", min_length=1)
    outside: bool = option(False, "links may lead out of its folder; only --set can say so")
    kind: Literal["files"] = kind("files")


TEXTS = (PythonTopics, TextFiles)
