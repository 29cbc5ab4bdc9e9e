"""``--set key.path=value``: changing one value of a scenario before it is checked."""

from __future__ import annotations

import re
from typing import Any

from fedsim import yamlfile
from fedsim.checks import key_path
from fedsim.errors import ScenarioError

_PART = re.compile(r"([^.\[\]]+)|\[([0-9]{1,9})\]")


def split_key(path: str) -> list[str | int]:
    """``fleet.mix[1].share``, or ``fleet.mix.1.share``, as ``["fleet", "mix", 1, "share"]``.

    Raises:
        ScenarioError: if it is not a key path.
    """
    parts: list[str | int] = []
    position = 0
    while position < len(path):
        if parts and path[position] == ".":
            position += 1
        match = _PART.match(path, position)
        if match is None or (not parts and match[2]):
            break
        number = match[2] or (match[1] if parts and re.fullmatch("[0-9]{1,9}", match[1]) else None)
        parts.append(int(number) if number else match[1])
        position = match.end()
    if not parts or position != len(path):
        raise ScenarioError(f"{path!r} is not a key path; write it like fleet.mix[0].share")
    return parts


def plain(path: str) -> str:
    """A key path in its one spelling: ``fleet.mix.0.device`` as ``fleet.mix[0].device``."""
    return key_path(split_key(path))


def parse(text: str) -> tuple[str, Any]:
    """``rounds.count=20`` as the key path and its YAML value.

    Raises:
        ScenarioError: if there is no ``=`` or the value is not YAML.
    """
    path, equals, value = text.partition("=")
    if not equals:
        raise ScenarioError(f"--set {text!r} has no '='; write it like --set rounds.count=20")
    return path.strip(), yamlfile.parse(value, f"--set {path.strip()}", ScenarioError)


def apply(data: Any, path: str, value: Any, file: str) -> None:
    """Put ``value`` at ``path`` in ``data``, in place; blocks on the way are made if missing.

    Raises:
        ScenarioError: if the path leads through something that is not a block or a list, or
            beyond the end of a list.
    """
    parts = split_key(path)
    at = data
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        if isinstance(part, int):
            if not isinstance(at, list) or part >= len(at):
                size = f"has {len(at)} entries" if isinstance(at, list) else "is not a list"
                raise ScenarioError(f"cannot be set: the list on the way {size}", file=file, key=path)
            if last:
                at[part] = value
            else:
                at = at[part]
        elif isinstance(at, dict):
            if last:
                at[part] = value
            else:
                if at.get(part) is None:
                    at[part] = {}
                at = at[part]
        else:
            raise ScenarioError(f"cannot be set: {part!r} is inside {at!r}, not a block", file=file, key=path)
