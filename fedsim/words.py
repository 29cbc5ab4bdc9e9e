"""Words that the sentences of several rooms share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

_SHOWN = 60


def shown(value: object) -> str:
    """``value`` as a message shows it, cut where it would not fit on a line."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def count(value: float) -> str:
    """``12345`` as ``12,345``, ``1.5`` as it is."""
    return f"{value:,g}" if isinstance(value, float) else f"{value:,}"


def plural(value: float, noun: str) -> str:
    """So many of something: ``1 round``, ``150 rounds``, ``1.5 days``."""
    return f"{count(value)} {noun}" + ("" if value == 1 else "s")


def verb(value: int, plain: str) -> str:
    """What so many do: ``takes`` for 1, ``take`` for others; ``is`` and ``are`` for ``be``."""
    if plain == "be":
        return "is" if value == 1 else "are"
    return plain + ("s" if value == 1 else "")


def did_you_mean(name: str, known: Iterable[str], most: int = 3) -> str:
    """``did you mean 'a' or 'b'?``, the nearest first; empty if nothing that is known is near."""
    near = difflib.get_close_matches(name, list(known), n=most)
    return f"did you mean {' or '.join(map(repr, near))}?" if near else ""


def nearest(name: str, known: Sequence[str], most: int = 3) -> str:
    """What to say of a name that is not known: the nearest ones, else all."""
    return did_you_mean(name, known, most) or f"known here: {', '.join(known)}"
