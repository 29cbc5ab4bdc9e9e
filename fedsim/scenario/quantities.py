"""Field types of a scenario that take units: text or a bare number in, SI float inside.

Written back (into a run directory's ``scenario.yaml``) they read as a person would write them,
and read again they give the same float.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from fedsim import units


def _writer(factors: dict[str, float], parse: Callable[[object], float]) -> Callable[[float | None], object]:
    ordered = sorted(factors.items(), key=lambda item: -item[1])

    def write(value: float | None) -> object:
        if value is None:
            return None
        for unit, factor in ordered:
            text = f"{value / factor:.12g}{unit}"
            if abs(value) >= factor and len(text) <= 10 and parse(text) == value:
                return text
        return value

    return write


def _positive(parse: Callable[[object], float]) -> Callable[[object], object]:
    def read(value: object) -> object:
        if value is None:
            return None
        number = parse(value)
        if number <= 0:
            raise ValueError(f"{value!r} is not above zero")
        return number

    return read


def _text_or_number(*examples: str, word: str | None = None) -> WithJsonSchema:
    """What an editor is told: a number above zero in SI, or text with a unit."""
    pattern = r"^[0-9.]+([eE][-+]?[0-9]+)? ?[A-Za-zµ/]+$"
    if word is not None:
        pattern = f"^{word}$|{pattern}"
    number = {"type": "number", "exclusiveMinimum": 0}
    return WithJsonSchema(
        {"anyOf": [{"type": "string", "pattern": pattern}, number], "examples": list(examples)}
    )


Duration = Annotated[
    float,
    BeforeValidator(_positive(units.parse_duration_s)),
    PlainSerializer(_writer({"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}, units.parse_duration_s)),
    _text_or_number("90s", "6h"),
]
Size = Annotated[
    float,
    BeforeValidator(_positive(units.parse_bytes)),
    PlainSerializer(_writer({"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9}, units.parse_bytes)),
    _text_or_number("380MB", "4GiB"),
]
Energy = Annotated[
    float,
    BeforeValidator(_positive(units.parse_j)),
    PlainSerializer(_writer({"J": 1.0, "Wh": 3600.0}, units.parse_j)),
    _text_or_number("15Wh"),
]
Power = Annotated[
    float,
    BeforeValidator(_positive(units.parse_w)),
    PlainSerializer(_writer({"W": 1.0}, units.parse_w)),
    _text_or_number("10W"),
]


def _rate(value: object) -> float:
    return math.inf if value in ("unlimited", math.inf) else units.parse_bytes_per_s(value)


_write_rate = _writer({"kbps": 125.0, "Mbps": 125e3, "Gbps": 125e6}, units.parse_bytes_per_s)

Rate = Annotated[
    float,
    Field(allow_inf_nan=True),
    BeforeValidator(_positive(_rate)),
    PlainSerializer(lambda value: "unlimited" if value == math.inf else _write_rate(value)),
    _text_or_number("20Mbps", "1Gbps", word="unlimited"),
]
"""Bytes per second; ``unlimited`` is infinite."""
