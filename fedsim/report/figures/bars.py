"""Lying bars, one a row, stacked from parts: as a picture and for the scripts of a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.ticker import FuncFormatter

from fedsim.report.live import figures
from fedsim.report.style import Canvas, Theme, canvas, legend, legend_in
from fedsim.report.text import name

#: Most characters of a row's label.
LABEL = 22


@dataclass(frozen=True)
class Part:
    """A part of every bar.

    Attributes:
        label: what it is.
        colour: by the name that scripts and style sheet know, such as ``completed``.
        values: one a row, in the unit in which the scripts are told them.
    """

    label: str
    colour: str
    values: Sequence[float]


@dataclass(frozen=True)
class Bars:
    """Stacked bars.

    Attributes:
        labels: one a row.
        parts: those that some row has.
        notes: a text behind each bar; none for no texts.
        xlabel: label of the axis, unit included.
        divisor: what values are divided by to be in that unit.
        form: how scripts write a value: ``s``, ``j``, ``percent``, ...
    """

    labels: Sequence[str]
    parts: Sequence[Part]
    notes: Sequence[str]
    xlabel: str
    divisor: float = 1.0
    form: str = "number"

    @property
    def shown(self) -> list[str]:
        """The labels, short enough."""
        return [name(label, LABEL) for label in self.labels]

    @property
    def longest(self) -> float:
        """The largest sum of a row, in units of the axis."""
        sums = map(sum, zip(*(part.values for part in self.parts), strict=True))
        return max(sums, default=0.0) / self.divisor


def draw(bars: Bars, title: str, theme: Theme, colours: dict[str, str]) -> Canvas:
    """Draw them as a picture; ``colours`` says what each part's colour is in this theme."""
    parts = [part for part in bars.parts if any(part.values)]
    words = [part.label for part in parts]
    with canvas(theme, title, 1.0 + 0.36 * len(bars.labels) + legend_in(words, bars.shown)) as frame:
        (ax,) = frame.axes()
        places = list(range(len(bars.labels)))
        ends = [0.0] * len(places)
        for part in parts:
            sizes = [value / bars.divisor for value in part.values]
            ax.barh(places, sizes, left=ends, height=0.62, color=colours[part.colour], label=part.label)
            ends = [a + b for a, b in zip(ends, sizes, strict=True)]
        for at, text in enumerate(bars.notes):
            ax.annotate(
                text, (ends[at], at), xytext=(5, 0), textcoords="offset points", va="center", size=8.5,
                color=theme.ink,
            )  # fmt: skip
        ax.set_xlim(0, (1.42 if bars.notes else 1.02) * (bars.longest or 1.0))
        ax.set_yticks(places, bars.shown)
        ax.invert_yaxis()
        ax.tick_params(axis="y", labelcolor=theme.ink)
        ax.grid(visible=False, axis="y")
        ax.grid(visible=True, axis="x", color=theme.grid, linewidth=0.7)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        ax.set_xlabel(bars.xlabel)
        legend(frame, ax, beside=bars.shown)
        return frame


def panel(bars: Bars, notes: Sequence[str] | None = None) -> dict[str, Any]:
    """The same for the scripts; ``notes`` instead of the picture's, where shorter ones are enough."""
    texts = bars.notes if notes is None else notes
    rows = []
    for at, label in enumerate(bars.shown):
        row: dict[str, Any] = {
            "label": label,
            "bits": [[place, *figures([part.values[at]])] for place, part in enumerate(bars.parts)],
        }
        rows.append(row | ({"note": texts[at]} if texts else {}))
    return {
        "kind": "rows",
        "stacked": True,
        "divisor": bars.divisor,
        "format": bars.form,
        "notes": bool(texts),
        "series": [{"label": part.label, "colour": part.colour} for part in bars.parts],
        "rows": rows,
    }
