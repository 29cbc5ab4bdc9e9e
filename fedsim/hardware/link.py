"""Links: what a client sends and receives over.

A link file (``hardware/links/*.yaml``) gives typical rates both ways, the delay of one exchange,
how much clients differ from one another, and the power of the radio or adapter while it moves
bytes. ``down`` and ``up`` may be ``unlimited``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from fedsim import paths, units
from fedsim.errors import HardwareError
from fedsim.hardware.file import HardwareFile, check_sources, read, year
from fedsim.options import DurationOrZero, PowerOrZero, Quantity, option
from fedsim.words import nearest

_RIGHT = "a rate from 1kbps to 1000Gbps, or unlimited"


def _parse(text: object) -> float:
    rate = units.parse_bytes_per_s(text)
    if not 125.0 <= rate <= 1.25e11:
        raise ValueError(f"{text!r} is no rate of a link")
    return rate


_Rate = Annotated[float, Quantity(_parse, (), (), word="unlimited")]


@dataclass(frozen=True, kw_only=True)
class _File(HardwareFile):
    """A link as its file states it."""

    year: int = year()
    down: _Rate = option(right=_RIGHT)
    up: _Rate = option(right=_RIGHT)
    latency: DurationOrZero = option(le=60.0, right="a duration from 0s to 60s, such as 30ms")
    spread: float = option(ge=0.0, le=3.0, right="the sigma of a log-normal factor, from 0 to 3")
    radio: PowerOrZero = option(le=100.0, right="a power from 0W to 100W")


@dataclass(frozen=True)
class Link:
    """One kind of connection between a client and the server.

    Attributes:
        name: the name of its file; what scenarios call it.
        title: what people call it.
        year: the year for which the rates are typical.
        down_bytes_per_s: server to client, median over clients; may be infinite.
        up_bytes_per_s: client to server, median over clients; may be infinite.
        latency_s: time added once to each transfer (one round trip).
        spread: sigma of the log-normal factor by which clients' rates differ; 0 if they do not.
        radio_w: power of the radio or adapter while bytes move.
        sources: where each figure comes from.
        file: the file it was read from.
    """

    name: str
    title: str
    year: int
    down_bytes_per_s: float
    up_bytes_per_s: float
    latency_s: float
    spread: float
    radio_w: float
    sources: Mapping[str, str] = field(hash=False)
    file: str


def link_names() -> list[str]:
    """The names of the catalogue of links, sorted."""
    return paths.names("hardware/links", ".yaml")


def load_link(name_or_path: str) -> Link:
    """Read a link by catalogue name or by path.

    Raises:
        HardwareError: if there is no such link, or its file has a fault.
    """
    path = paths.find(name_or_path, "hardware/links", ".yaml")
    if path is None:
        raise HardwareError(f"there is no link {name_or_path!r}; {nearest(name_or_path, link_names())}")
    stated = read(_File, path)
    check_sources(path, stated.sources, ["year", "down", "up", "latency", "spread", "radio"])
    return Link(
        name=path.stem,
        title=stated.title,
        year=stated.year,
        down_bytes_per_s=stated.down,
        up_bytes_per_s=stated.up,
        latency_s=stated.latency,
        spread=stated.spread,
        radio_w=stated.radio,
        sources=stated.sources,
        file=str(path),
    )
