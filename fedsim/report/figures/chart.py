"""What a picture of the report consists of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fedsim.report.digest import Digest
from fedsim.report.style import Canvas, Theme


@dataclass(frozen=True)
class Chart:
    """One picture.

    Attributes:
        name: file name in ``figures/`` without suffix, and anchor in the page.
        heading: what it is about, in a few words, for navigation.
        ready: whether the run has data for it; a picture without data is left out.
        title: the finding, in one sentence.
        caption: how to read it, in one or two sentences.
        draw: the drawing in a theme, under that title.
        live: the same for the scripts of the page; see :mod:`fedsim.report.live`.
    """

    name: str
    heading: str
    ready: Callable[[Digest], bool]
    title: Callable[[Digest], str]
    caption: Callable[[Digest], str]
    draw: Callable[[Digest, Theme], Canvas]
    live: Callable[[Digest], dict[str, Any]]
