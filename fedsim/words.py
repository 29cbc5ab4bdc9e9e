"""Words that the sentences of several rooms share."""

from __future__ import annotations

import difflib
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence

PLAIN_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$"
_SHOWN = 60


def shown(value: object) -> str:
    """``value`` as a message shows it, cut where it would not fit on a line."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def count(value: float) -> str:
    """``12345`` as ``12,345``, ``1.5`` as it is."""
    return f"{int(value):,}" if float(value).is_integer() else f"{value:,g}"


def plural(value: float, noun: str) -> str:
    """So many of something: ``1 round``, ``150 rounds``, ``1.5 days``."""
    return f"{count(value)} {noun}" + ("" if value == 1 else "s")


def verb(value: int, plain: str) -> str:
    """What so many do: ``takes`` for 1, ``take`` for others; ``is`` and ``are`` for ``be``."""
    if plain == "be":
        return "is" if value == 1 else "are"
    return plain + ("s" if value == 1 else "")


def spread(least: float, most: float, mean: str) -> str:
    """A spread of counts: ``2 to 8 (4.67 on average)``, or the one number that there is."""
    return f"{most:,.0f}" if least == most else f"{least:,.0f} to {most:,.0f} ({mean} on average)"


def did_you_mean(name: str, known: Iterable[str], most: int = 3) -> str:
    """``did you mean 'a' or 'b'?``, the nearest first; empty if nothing that is known is near."""
    near = difflib.get_close_matches(name, list(known), n=most)
    return f"did you mean {' or '.join(map(repr, near))}?" if near else ""


def slashes(path: object, otherwise: str = "") -> str:
    """What to say of a path that leads nowhere and was written as on Windows; else ``otherwise``."""
    if os.sep == "/" and "\\" in str(path):
        return "folders are separated by '/' here, not by '\\'"
    return otherwise


def nearest(name: str, known: Sequence[str], most: int = 3) -> str:
    """What to say of a name that is not known: the nearest ones, else all."""
    return slashes(name) or did_you_mean(name, known, most) or f"known here: {', '.join(known)}"


def plain_name(text: str, otherwise: str = "scenario") -> str:
    """A name for a run made of other text, such as a file's name: letters, digits, ``.``, ``_`` and ``-``.

    One that is plain already stays as it is (see ``PLAIN_NAME``). Else accents go, anything other becomes a
    hyphen, and ``otherwise`` is taken where nothing is left.
    """
    if re.fullmatch(PLAIN_NAME, text):
        return text
    bare = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return re.sub(r"[^A-Za-z0-9._-]+", "-", bare).lstrip("._-")[:80].rstrip("-") or otherwise
