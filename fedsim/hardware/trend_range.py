"""The uncertain part of a trend file: ranges of doubling times, and figures that grow together.

range: {compute: [1.9, 2.8], memory: [3.3, 4.8]}   # shortest and longest, around doubling_years
together: [compute, bandwidth]                     # these share one draw
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from fedsim.hardware.section import Section
from fedsim.words import shown


def read_ranges(root: Section, years: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """The ranges of a trend file by figure; none if it states none.

    Raises:
        HardwareError: a range of a figure that does not grow or is not given, or one that is not two
            numbers around the doubling time itself.
    """
    if not root.has("range"):
        return {}
    stated = root.section("range", "a range for each uncertain doubling time")
    found = {}
    for figure, years_to_double in years.items():
        if stated.has(figure):
            if math.isinf(years_to_double):
                stated.fail("has a range, but doubling_years says that it never doubles", figure)
            found[figure] = _range(stated, figure, years_to_double)
    stated.close()
    return found


def _range(stated: Section, figure: str, years_to_double: float) -> tuple[float, float]:
    value = stated.get(figure, "two numbers of years")
    right = f"give two numbers of years from 0.1 to 1000 with {years_to_double:g} between them"
    if not isinstance(value, list) or len(value) != 2:
        stated.fail(f"is {shown(value)}; {right}", figure)
    low, high = value
    if any(isinstance(v, bool) or not isinstance(v, int | float) for v in value) or not (
        0.1 <= low <= years_to_double <= high <= 1000.0
    ):
        stated.fail(f"is {shown(value)}; {right}", figure)
    return float(low), float(high)


def read_together(root: Section, ranges: Mapping[str, tuple[float, float]]) -> tuple[str, ...]:
    """The figures that share one draw; none if the file states none.

    Raises:
        HardwareError: not a list of at least two different figures that have a range.
    """
    if not root.has("together"):
        return ()
    value = root.get("together", "a list of figures")
    if not isinstance(value, list) or len(value) < 2 or len(set(map(str, value))) != len(value):
        root.fail(f"is {shown(value)}; give a list of two or more figures that have a range", "together")
    for figure in value:
        if figure not in ranges:
            known = ", ".join(ranges) or "none has one"
            root.fail(f"names {figure!r}; give figures that have a range: {known}", "together")
    return tuple(value)
