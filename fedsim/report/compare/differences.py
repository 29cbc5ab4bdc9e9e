"""What the scenarios of some runs do not share: key paths and values, and inputs that have changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fedsim.report.compare.gather import Entry
from fedsim.report.text import dig

#: Keys that say what a run is called and no more.
_NAMES = ("name", "description")


@dataclass(frozen=True)
class Difference:
    """A key path and its value in each run; None where a run has no such key, or none is its value."""

    key: str
    values: tuple[Any, ...]


def differing(values: Sequence[Any], path: str = "") -> Iterator[Difference]:
    """Where nested mappings and lists differ: as deep as all of them reach, ``fleet.mix[0].device``."""
    if all(value == values[0] for value in values):
        return
    if all(isinstance(value, dict) and value for value in values):
        for key in dict.fromkeys(key for value in values for key in value):
            below = f"{path}.{key}" if path else str(key)
            yield from differing([value.get(key) for value in values], below)
    elif all(isinstance(value, list) and value for value in values):
        for at in range(max(map(len, values))):
            parts = [value[at] if at < len(value) else None for value in values]
            yield from differing(parts, f"{path}[{at}]")
    else:
        yield Difference(path, tuple(values))


def differences(entries: Sequence[Entry]) -> list[Difference]:
    """What differs, in the order of the scenarios; then versions, and files that changed under one name."""
    scenarios = [{k: v for k, v in entry.run.scenario.items() if k not in _NAMES} for entry in entries]
    versions = [{"version": dig(entry.run.manifest, "versions")} for entry in entries]
    hashes = [_hashes(entry) for entry in entries]
    shared = [{k: own[k] for k in own if all(k in other for other in hashes)} for own in hashes]
    return [*differing(scenarios), *differing(versions), *differing(shared)]


def _hashes(entry: Entry) -> dict[str, str]:
    """The first figures of each input's hash; the scenario's own says nothing that its keys do not."""
    inputs = dig(entry.run.manifest, "inputs")
    names = inputs if isinstance(inputs, dict) else {}
    return {f"SHA-256 of {n}": str(dig(names, n, "sha256"))[:12] for n in names if n != "scenario"}
