"""SI constants, and the one place where text with units becomes numbers and back.

Inside fedsim every quantity is in SI units and says so in its name (``_s``, ``_bytes``,
``_flops``, ``_flops_per_s``, ``_bytes_per_s``, ``_j``, ``_w``). Text such as ``6h`` or ``380MB``
exists only at the edge: in YAML files and in what people read.

GB is 10**9 bytes and GiB is 2**30 bytes. Link rates are given in bits (``1Gbps``) and kept in
bytes per second.
"""

from __future__ import annotations

import math
import re

SAMPLES_PER_S = 16_000
"""The rate of all speech here, hertz: recordings are brought to it, and models expect it."""

KB, MB, GB, TB = 1e3, 1e6, 1e9, 1e12
KIB, MIB, GIB, TIB = 2.0**10, 2.0**20, 2.0**30, 2.0**40

MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86400.0
YEAR_S = 365.25 * DAY_S

_DURATIONS_S = {
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "min": MINUTE_S,
    "m": MINUTE_S,
    "h": HOUR_S,
    "d": DAY_S,
    "w": 7 * DAY_S,
}
_SIZES_BYTES = {
    "B": 1.0,
    "kB": KB,
    "KB": KB,
    "MB": MB,
    "GB": GB,
    "TB": TB,
    "KiB": KIB,
    "MiB": MIB,
    "GiB": GIB,
    "TiB": TIB,
}
_BIT_RATES_BYTES_PER_S = {"bps": 1 / 8, "kbps": 1e3 / 8, "Mbps": 1e6 / 8, "Gbps": 1e9 / 8}
_RATES_BYTES_PER_S = _BIT_RATES_BYTES_PER_S | {f"{u}/s": f for u, f in _SIZES_BYTES.items()}
_FLOPS_PER_S = {
    "FLOP/s": 1.0,
    "MFLOP/s": 1e6,
    "GFLOP/s": 1e9,
    "TFLOP/s": 1e12,
    "PFLOP/s": 1e15,
}
_POWERS_W = {"mW": 1e-3, "W": 1.0, "kW": 1e3}
_FREQUENCIES_HZ = {"Hz": 1.0, "kHz": 1e3, "MHz": 1e6, "GHz": 1e9}
_ENERGIES_J = {"J": 1.0, "kJ": 1e3, "MJ": 1e6, "Wh": 3600.0, "kWh": 3.6e6}

_QUANTITY = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-z/]*)\s*")


def _parse(text: object, units: dict[str, float], plain_unit: str, what: str, example: str) -> float:
    """Read ``text`` as a number with one of ``units``; a bare number counts in ``plain_unit``.

    Raises:
        ValueError: with a message that says what would be accepted.
    """
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        try:
            number, unit = float(text), plain_unit
        except OverflowError:
            raise ValueError(f"{text!r} is not a finite {what}; write something like {example}") from None
    else:
        match = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
        if match is None or (match[2] and match[2] not in units):
            known = ", ".join(units)
            raise ValueError(
                f"{text!r} is not a {what}; write a number and one of {known}, such as {example}"
            )
        number, unit = float(match[1]), match[2] or plain_unit
    value = number * units[unit]
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not a finite {what}; write something like {example}")
    return value


def parse_duration_s(text: object) -> float:
    """Seconds in ``6h``, ``90s``, ``15min``, ``2d`` or a bare number of seconds."""
    return _parse(text, _DURATIONS_S, "s", "duration", "6h")


def parse_bytes(text: object) -> float:
    """Bytes in ``380MB``, ``8GiB`` or a bare number of bytes."""
    return _parse(text, _SIZES_BYTES, "B", "size", "380MB")


def parse_bytes_per_s(text: object) -> float:
    """Bytes per second in ``1Gbps``, ``59.7GB/s`` or a bare number of bytes per second."""
    return _parse(text, _RATES_BYTES_PER_S, "B/s", "rate", "100Mbps")


def parse_flops_per_s(text: object) -> float:
    """FLOP per second in ``21 TFLOP/s`` or a bare number."""
    return _parse(text, _FLOPS_PER_S, "FLOP/s", "compute rate", "21TFLOP/s")


def parse_w(text: object) -> float:
    """Watts in ``15W`` or a bare number of watts."""
    return _parse(text, _POWERS_W, "W", "power", "15W")


def parse_hz(text: object) -> float:
    """Hertz in ``612MHz``, ``1.3GHz`` or a bare number of hertz."""
    return _parse(text, _FREQUENCIES_HZ, "Hz", "clock", "612MHz")


def parse_j(text: object) -> float:
    """Joules in ``17Wh`` or a bare number of joules."""
    return _parse(text, _ENERGIES_J, "J", "energy", "17Wh")


def parse_years(text: object) -> float:
    """Years in ``2.5years`` or a bare number of years."""
    return _parse(text, {"years": 1.0}, "years", "number of years", "2.5")


def _scaled(value: float, steps: list[tuple[float, str]]) -> str:
    """``value`` in the first of the units (largest first) that it fills, else in the last."""
    factor, unit = next((step for step in steps if abs(value) >= step[0]), steps[-1])
    return f"{value / factor:.3g} {unit}"


def format_bytes(value: float) -> str:
    """``2.54e9`` as ``2.54 GB`` (decimal units)."""
    return _scaled(value, [(TB, "TB"), (GB, "GB"), (MB, "MB"), (KB, "kB"), (1.0, "B")])


def format_flops(value: float) -> str:
    """``7.7e10`` as ``77 GFLOP``."""
    return _scaled(value, [(1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP"), (1.0, "FLOP")])


def format_j(value: float) -> str:
    """``5.2e6`` as ``1.44 kWh``: watt-hours from a tenth of one, joules below."""
    if abs(value) < 360.0:
        return f"{value:.3g} J"
    return _scaled(value / 3600.0, [(1e6, "MWh"), (1e3, "kWh"), (1.0, "Wh")])


def format_duration(seconds: float) -> str:
    """Seconds as people say them: ``270 ms``, ``53.3 s``, ``12 min``, ``5.1 h``, ``3.4 days``."""
    if not math.isfinite(seconds):
        return "never" if seconds > 0 else "unknown"
    size = abs(seconds)
    if size < 1e-3:
        return f"{seconds * 1e6:.3g} us"
    if size < 1:
        return f"{seconds * 1e3:.3g} ms"
    if size < 2 * MINUTE_S:
        return f"{seconds:.3g} s"
    if size < 2 * HOUR_S:
        return f"{seconds / MINUTE_S:.3g} min"
    if size < 2 * DAY_S:
        return f"{seconds / HOUR_S:.3g} h"
    if size < 2 * YEAR_S:
        return f"{seconds / DAY_S:.4g} days"
    return f"{seconds / YEAR_S:.3g} years"
