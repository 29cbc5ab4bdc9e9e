"""Transcripts as words: the one place that says what a word is and which spellings are equal.

Words are divided where Unicode divides them (UAX 29, by ``regex``); scripts that are written without
spaces, which UAX 29 leaves to dictionaries, stay as they are written. Nothing that is spoken goes: letters
with all their marks and joiners, figures, and symbols that are read aloud. What goes is punctuation.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import regex

from fedsim.words import plural, verb

SYMBOLS = r"\p{Sc}%‰٪％&＆@＠#＃+＋=×÷±−°№§"  # that are read aloud
_SPOKEN = regex.compile(rf"[\p{{L}}\p{{N}}{SYMBOLS}']")  # an apostrophe that is left is one within a word
_FIGURES = regex.compile(rf"[\p{{N}}{SYMBOLS}]")
_BOUNDARY = regex.compile(r"(?w)\b")
_INVISIBLE = regex.compile(r"(?V1)[\p{Cf}--[\u200b\u200c\u200d]]")  # a soft hyphen, say, but no joiner
_LETTER = r"[[\p{L}\p{N}]--[ʼʻꞌ]]"  # what an apostrophe within a word stands between
_BEFORE = rf"{_LETTER}[\p{{M}}\u200c\u200d]*"
_QUOTE = regex.compile(rf"(?V1)(?<!{_BEFORE})['’‘‛＇՚′´`]|['’‘‛＇՚′´`](?!{_LETTER})|\p{{Pc}}")
_APOSTROPHE = regex.compile(rf"(?V1)(?<={_BEFORE})['’‘‛＇՚′´`ʼʻꞌ](?={_LETTER})")
_DOTLESS = frozenset({"tr", "tur", "az", "aze"})  # whose small I is ı, as in Unicode's SpecialCasing


@lru_cache(maxsize=1 << 16)  # a recording is asked about again in every step that it is part of
def normalise(text: str, language: str = "") -> str:
    """The words of a transcript with single spaces between them; empty if nothing is spoken.

    Case is folded, accents and other marks stay, the result is in NFC. An apostrophe within a word, in
    any of its code points, becomes ``'``; other punctuation and pictures part words. İ becomes i.

    Args:
        text: as it is written.
        language: its tag, such as ``it`` or ``tr-TR``; in Turkish and Azeri the small I is ı. Empty: unknown.
    """
    composed = unicodedata.normalize("NFC", _INVISIBLE.sub("", text)).replace("İ", "i")
    if language.lower().replace("_", "-").partition("-")[0] in _DOTLESS:
        composed = composed.replace("I", "ı")
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFD", composed).casefold())
    plain = _APOSTROPHE.sub("'", _QUOTE.sub(" ", folded))
    pieces = (piece if _SPOKEN.search(piece) else " " for piece in _BOUNDARY.split(plain))
    return " ".join("".join(pieces).split())


def has_figures(text: str) -> bool:
    """Whether a transcript holds figures or symbols, so that some of what was said is not spelled out."""
    return _FIGURES.search(text) is not None


def about_figures(figures: int, transcripts: int) -> str:
    """The sentence that says how many of the transcripts hold figures or symbols."""
    held = f"{figures:,} of {plural(transcripts, 'transcript')} {verb(figures, 'hold')} figures or symbols"
    return f"{held}, which are scored as they are written"
