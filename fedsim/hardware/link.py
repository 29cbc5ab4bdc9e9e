"""Links: what a client sends and receives over.

A link file (``hardware/links/*.yaml``) gives typical rates both ways, the delay of one exchange,
how much clients differ from one another, and the power of the radio or adapter while it moves
bytes. ``down`` and ``up`` may be ``unlimited``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from fedsim import paths, units
from fedsim.errors import HardwareError
from fedsim.hardware import section


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
        raise HardwareError(
            f"there is no link {name_or_path!r}" + section.close_matches(name_or_path, link_names())
        )
    root = section.load(path)
    link = Link(
        name=path.stem,
        title=root.text("title", "what people call the link"),
        year=root.year("year"),
        down_bytes_per_s=_rate(root, "down"),
        up_bytes_per_s=_rate(root, "up"),
        latency_s=root.quantity(
            "latency", units.parse_duration_s, 0.0, 60.0, "a duration from 0s to 60s, such as 30ms"
        ),
        spread=root.number("spread", 0.0, 3.0, "the sigma of a log-normal factor, from 0 to 3"),
        radio_w=root.quantity("radio", units.parse_w, 0.0, 100.0, "a power from 0W to 100W"),
        sources=section.read_sources(root, ["year", "down", "up", "latency", "spread", "radio"]),
        file=str(path),
    )
    root.close()
    return link


def _rate(root: section.Section, key: str) -> float:
    if root.has(key) and root.data[key] == "unlimited":
        return math.inf
    right = "a rate from 1kbps to 1000Gbps, or unlimited"
    return root.quantity(key, units.parse_bytes_per_s, 125.0, 1.25e11, right)
