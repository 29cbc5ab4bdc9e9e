"""``--seconds``, ``--tokens`` and ``--size``: how large examples are, in any verb that prices a step."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

Command = Callable[..., None]


def sized(command: Command) -> Command:
    """A command with the three options, called with ``seconds`` and with ``sizes`` by name."""

    @click.option(
        "--seconds", "-s", type=float, help="Of the longest sentence, for a model on speech.  [default: 5.5]"
    )
    @click.option("--tokens", type=int, metavar="N", help="Of the longest text: short for --size tokens=N.")
    @click.option(
        "--size", metavar="NAME=N", multiple=True, help="Of the largest example, for any model: pixels=224."
    )
    @wraps(command)
    def with_sizes(tokens: int | None, size: tuple[str, ...], **others: Any) -> None:
        from fedsim.errors import InputError

        several = by_name(size, () if tokens is None else (tokens,))
        for name, values in several.items():
            if len(values) > 1:
                raise InputError(f"{name} is given more than once; give one size")
        command(sizes={name: values[0] for name, values in several.items()}, **others)

    return with_sizes


def by_name(given: tuple[str, ...], tokens: tuple[int, ...] = ()) -> dict[str, list[int]]:
    """All sizes that are given, by their name.

    Raises:
        InputError: one is not written as ``name=number``.
    """
    from fedsim.errors import InputError

    found: dict[str, list[int]] = {"tokens": list(tokens)} if tokens else {}
    for text in given:
        name, _, number = text.partition("=")
        if not name or not number.isascii() or not number.isdigit():
            raise InputError(f"{text!r} is not a size; write its name and a whole number, as in tokens=128")
        found.setdefault(name, []).append(int(number))
    return found
