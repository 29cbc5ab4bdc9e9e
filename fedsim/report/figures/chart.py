"""What a picture of the report consists of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fedsim.report.digest import Digest
from fedsim.report.style import Canvas, Theme
from fedsim.report.text import share
from fedsim.results.intervals import interval_of
from fedsim.words import plural

Subject = TypeVar("Subject")


def shading(digest: Digest) -> str:
    """How to read what is shaded, with a blank before it; empty if no speeds were drawn."""
    found = interval_of(digest.summary, "end_s")
    if found is None or digest.intervals is None:
        return ""
    return (
        f" Shaded: where it lies with {share(found.level)} probability, since the speed of no device is known"
        f" exactly ({plural(found.draws, 'repeat')} under drawn speeds, without learning)."
    )


@dataclass(frozen=True)
class Chart(Generic[Subject]):
    """One picture of something: of a run's digest, or of a comparison.

    Attributes:
        name: file name in ``figures/`` without suffix, and anchor in the page.
        heading: what it is about, in a few words, for navigation.
        ready: whether there is data for it; a picture without data is left out.
        title: the finding, in one sentence.
        caption: how to read it, in one or two sentences.
        draw: the drawing in a theme, under that title.
        live: the same for the scripts of the page; see :mod:`fedsim.report.live`.
    """

    name: str
    heading: str
    ready: Callable[[Subject], bool]
    title: Callable[[Subject], str]
    caption: Callable[[Subject], str]
    draw: Callable[[Subject, Theme], Canvas]
    live: Callable[[Subject], dict[str, Any]]
