"""How the report writes numbers and names: pure functions, used by figures, page and terminal alike."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

from fedsim import units
from fedsim.results.intervals import Interval, interval_of

#: Units for a time axis, largest first: (seconds, name on an axis).
_TIMES = (
    (units.YEAR_S, "years"),
    (units.DAY_S, "days"),
    (units.HOUR_S, "hours"),
    (units.MINUTE_S, "minutes"),
    (1.0, "seconds"),
    (1e-3, "milliseconds"),
)
_SIZES = ((units.TB, "TB"), (units.GB, "GB"), (units.MB, "MB"), (units.KB, "kB"), (1.0, "bytes"))
_ENERGIES = ((3.6e9, "MWh"), (3.6e6, "kWh"), (3.6e3, "Wh"), (1.0, "J"))

NONE = "–"


def is_number(value: object) -> bool:
    """Whether ``value`` is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def share(value: float | None) -> str:
    """A share as a percentage that never rounds something to nothing: ``6.2%``, ``<0.1%``, ``100%``."""
    if value is None or not math.isfinite(value):
        return NONE
    percent = 100 * value
    if percent in (0, 100):
        return f"{percent:.0f}%"
    if 0 < percent < 0.1:
        return "<0.1%"
    if 99.9 < percent < 100:
        return ">99.9%"
    return f"{percent:.1f}%" if percent < 10 or percent > 90 else f"{percent:.0f}%"


def figure(value: float | None) -> str:
    """A metric's value with three significant digits: ``2.80``, ``0.191``, ``1,234``."""
    if value is None or not math.isfinite(value):
        return NONE
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}"


def duration(value: float | None) -> str:
    """Seconds in words, three digits: ``2.41 h``, ``15.1 days``."""
    if value is None:
        return NONE
    if value == 0:
        return "0 s"
    if math.isfinite(value) and 2 * units.DAY_S <= abs(value) < 2 * units.YEAR_S:
        return f"{value / units.DAY_S:.3g} days"
    return units.format_duration(value)


def size(value: float | None) -> str:
    """Bytes in words, or a dash; less than nothing is nothing."""
    return NONE if value is None else units.format_bytes(max(0.0, value))


def energy(value: float | None) -> str:
    """Joules in words, or a dash."""
    return NONE if value is None else units.format_j(value)


def power_of(largest: float, steps: Sequence[tuple[float, str]]) -> tuple[float, str]:
    """The unit in which ``largest`` is at least 1.5, or the smallest one."""
    for factor, name in steps:
        if largest >= 1.5 * factor:
            return factor, name
    return steps[-1]


def time_unit(largest_s: float) -> tuple[float, str]:
    """Divisor and name of the unit that suits an axis up to ``largest_s``."""
    return power_of(largest_s, _TIMES)


def size_unit(largest_bytes: float) -> tuple[float, str]:
    """Divisor and name of the unit that suits an axis up to ``largest_bytes``."""
    return power_of(largest_bytes, _SIZES)


def energy_unit(largest_j: float) -> tuple[float, str]:
    """Divisor and name of the unit that suits an axis up to ``largest_j``."""
    return power_of(largest_j, _ENERGIES)


def name(value: object, width: int = 26) -> str:
    """A name on one line: no control characters, at most ``width`` characters."""
    plain = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in str(value))
    plain = " ".join(plain.split()) or "?"
    return plain if len(plain) <= width else plain[: width - 1] + "…"


def listed(parts: Sequence[str], most: int = 3) -> str:
    """``a``, ``a and b``, ``a, b and c``, ``a, b and 4 more``."""
    shown = list(parts)
    if len(shown) > most:
        shown = [*shown[: most - 1], f"{len(parts) - most + 1} more"]
    return shown[0] if len(shown) == 1 else ", ".join(shown[:-1]) + " and " + shown[-1] if shown else ""


def dig(tree: Any, *path: str) -> Any:
    """The value at a path in nested mappings, or None if there is none."""
    for key in path:
        if not isinstance(tree, dict):
            return None
        tree = tree.get(key)
    return tree


def between(figures: Any, name: str, written: Callable[[float], str]) -> str:
    """The interval of a figure in words: ``7.27 h to 7.9 h``, ``7.27 h or more``; empty without one."""
    return in_words(interval_of(figures, name), written)


def in_words(found: Interval | None, written: Callable[[float], str]) -> str:
    """An interval in words; empty if there is none."""
    if found is None:
        return ""
    if found.low == math.inf:
        return "never"
    low, high = written(found.low), "" if found.high == math.inf else written(found.high)
    return low if low == high else f"{low} to {high}" if high else f"{low} or more"
