"""The interactive charts: what a page's scripts draw, as JSON, and the scripts themselves.

A chart of the page is its static picture until a browser runs the scripts, which then draw the same
figures with uPlot (MIT, ``assets/uplot``) and hide the picture. Data is JSON in a data block in which
no ``<`` occurs, so it can end no element; the page's policy allows just these scripts, by their hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import resources
from typing import Any

from fedsim.files import json_ready
from fedsim.report.style import Theme

_OURS = ("core.js", "lines.js", "stack.js", "rows.js", "points.js", "main.js")

#: How time may run along the bottom of a chart.
ROUNDS = {"name": "round", "short": "round", "label": "round"}


def by_time(divisor: float, unit: str) -> dict[str, Any]:
    """Simulated time along the bottom, in units of ``divisor`` seconds."""
    return {"name": "time", "short": "time", "label": f"simulated time ({unit})", "divisor": divisor}


def by(label: str) -> list[dict[str, Any]]:
    """What lies along the bottom, where the reader has no choice of it."""
    return [{"name": "value", "short": "value", "label": label}]


def figures(values: Iterable[float], digits: int = 6) -> list[float | None]:
    """Numbers with so many significant digits, which is less to carry; None for what is not finite."""
    return [None if number is None else float(f"{number:.{digits}g}") for number in map(json_ready, values)]


def chart(name: str, modes: Sequence[dict[str, Any]], *panels: dict[str, Any]) -> dict[str, Any]:
    """A chart of one or more panels that share what runs along the bottom."""
    sized = [{"height": _height_px(panel), **panel} for panel in panels]
    return {"name": name, "modes": list(modes), "panels": sized}


def _height_px(panel: dict[str, Any]) -> int:
    """How high a panel is that does not say so, in pixels."""
    if panel["kind"] == "rows":
        rows = len(panel["rows"])
        return 52 + (22 if rows > 14 else 36) * max(rows, 2)
    return 340 if panel["kind"] == "points" else 190


def block(specs: Sequence[dict[str, Any]]) -> str:
    """Charts as JSON for a data block: ASCII, strict, and without ``<``, ``>`` and ``&``."""
    text = json.dumps(json_ready(list(specs)), allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@cache
def scripts() -> tuple[str, str]:
    """uPlot as published, and our scripts as one: the two scripts of a page, in order."""
    room = resources.files("fedsim.report")
    uplot = (room / "assets" / "uplot" / "uPlot.iife.min.js").read_text(encoding="utf-8")
    ours = "\n".join((room / "scripts" / name).read_text(encoding="utf-8") for name in _OURS)
    made = (uplot, f'(() => {{\n"use strict";\n{ours}}})();\n')
    assert not any(word in script for script in made for word in ("</script", "<!--", "\r"))
    return made


@cache
def style() -> str:
    """uPlot's own style sheet, as published."""
    file = resources.files("fedsim.report") / "assets" / "uplot" / "uPlot.min.css"
    return file.read_text(encoding="utf-8")


@cache
def policy() -> str:
    """What the page may run, for its Content-Security-Policy: these two scripts and nothing else."""
    digests = (hashlib.sha256(script.encode("utf-8")).digest() for script in scripts())
    return " ".join(f"'sha256-{base64.b64encode(digest).decode('ascii')}'" for digest in digests)


def colours(theme: Theme) -> dict[str, str]:
    """The names under which scripts and style sheet know a theme's colours."""
    named = {
        "paper": theme.paper,
        "ink": theme.ink,
        "soft": theme.soft,
        "line": theme.grid,
        "alarm": "#D55E00" if theme.name == "light" else "#ff8a3d",
        "good": theme.outcome["completed"],
        "blue": theme.blue,
        "test": "#D55E00",
    }
    named |= {f"phase-{key}": value for key, value in theme.phase.items()}
    named |= dict(theme.outcome)
    return named | {f"series-{at}": value for at, value in enumerate(theme.series)}
