"""Which speech is learned from: one class a kind of corpus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedsim.options import Choice, kind, option
from fedsim.words import plural

DEFAULT_MINUTES = 30.0
_LANGUAGE = r"^[A-Za-z0-9-]{1,35}$"


class Corpus(Choice):
    """The speech that is really trained on."""

    point = "corpus"


@dataclass(frozen=True, kw_only=True)
class Espeak(Corpus):
    """Synthetic speech; nothing to download."""

    language: str | None = option(None, "that is spoken; 'it' is known", pattern=_LANGUAGE)
    speakers: int = option(40, "voices, some held out for validation", ge=3, le=10_000)
    minutes: float | None = option(None, "of speech in all; none: 30", gt=0, le=60_000)
    seed: int = option(0, "of the corpus itself, whatever the run's", ge=0)
    kind: Literal["espeak"] = kind("espeak")

    def __post_init__(self) -> None:
        if self.language not in (None, "it"):
            raise ValueError(f"espeak sentences are written for 'it' only, not for {self.language!r}")
        minutes = DEFAULT_MINUTES if self.minutes is None else self.minutes
        if 60.0 * minutes / self.speakers < 1.0:
            raise ValueError(
                f"{minutes:g} minutes for {plural(self.speakers, 'speaker')}: each needs at least a second"
            )


@dataclass(frozen=True, kw_only=True)
class Listed(Corpus):
    """Recordings that a file or a folder lists."""

    path: str = option(description="manifest: the CSV; common-voice: the folder", min_length=1)
    language: str | None = option(None, "the language to pick; none: all", pattern=_LANGUAGE)
    minutes: float | None = option(None, "the most training speech taken; none: all", gt=0, le=60_000)
    outside: bool = option(False, "recordings may lie outside its folder; only --set can say so")
    overlap: bool = option(
        False, "speakers and recordings may be in several splits; rates on what was heard are marked"
    )
    seed: int = option(0, "of who is held out, whatever the run's", ge=0)


@dataclass(frozen=True, kw_only=True)
class Manifest(Listed):
    """A CSV that lists recordings."""

    kind: Literal["manifest"] = kind("manifest")


@dataclass(frozen=True, kw_only=True)
class CommonVoice(Listed):
    """A folder of Mozilla Common Voice."""

    kind: Literal["common-voice"] = kind("common-voice")


CORPORA = (Espeak, Manifest, CommonVoice)
