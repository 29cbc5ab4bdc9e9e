"""The picture of a study: years at which criteria hold, a panel for each trend.

Without draws a dot is the moment at which a criterion holds. With draws a bar runs from the 5% to the
95% quantile, thick between 25% and 75%, and what never happens before the horizon ends in an arrow.
A study of one or two cells with draws is drawn as curves instead: the share of draws in which each
criterion holds by a year. Colours are Okabe and Ito's, made for every kind of colour vision.
"""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fedsim.feasible.study import Result, Study

_STYLE = {
    "memory": ("#009E73", "o", "fits into memory"),
    "parity_speed": ("#0072B2", "s", "as fast as {reference}"),
    "parity_memory": ("#E69F00", "D", "as much memory as {reference}"),
    "days": ("#CC79A7", "^", "procedure in time"),
    "energy": ("#D55E00", "v", "procedure in budget"),
    "battery": ("#56B4E9", "P", "round on battery"),
}
_INK, _SOFT, _GRID = "#1b1f24", "#5a6470", "#e4e7eb"
_MOST_CURVES = 2
_DOTTED = (0, (2, 2))


def draw(study: Study, path: Path) -> None:
    """Draw a study into a PNG file; the same study gives the same bytes."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    cells = len(study.of(study.trends[0]))
    curves = study.draws is not None and cells <= _MOST_CURVES
    height = 2.6 * cells if curves else 0.9 + 0.27 * cells * len(_names(study))
    with mpl.rc_context({"text.parse_math": False, "font.size": 9.0}):
        figure = Figure(figsize=(9.6, min(height + 1.25, 40.0)), dpi=120, layout="constrained")
        FigureCanvasAgg(figure)
        rows = cells if curves else 1
        axes = figure.subplots(rows, len(study.trends), squeeze=False, sharex=True, sharey=not curves)
        for column, trend in enumerate(study.trends):
            title = textwrap.fill(trend.title, 84 // len(study.trends))
            axes[0, column].set_title(title, fontsize=9.5, color=_INK, loc="left")
            if curves:
                for ax, result in zip(axes[:, column], study.of(trend), strict=True):
                    _curves(ax, result)
            else:
                _bars(axes[0, column], study.of(trend), study)
        for ax in axes.flat:
            _plain(ax)
        figure.suptitle("When does training become practical?", x=0.01, ha="left", weight="bold", color=_INK)
        reference = study.grid.limits.reference
        short = "" if reference is None else reference.title.split(" (")[0].removeprefix("NVIDIA ")
        handles = [_handle(name, short, curves) for name in _names(study)]
        if curves:
            handles.append(Line2D([], [], color=_INK, linewidth=1.2, linestyle=_DOTTED, label="all of it"))
        figure.legend(handles=handles, loc="outside lower left", ncols=3, frameon=False, labelcolor=_INK)
        figure.savefig(path, metadata={"Software": None})


def _names(study: Study) -> list[str]:
    return [n for n in _STYLE if any(n in result.answer.findings for result in study.results)]


def _label(result: Result) -> str:
    question = result.answer.question
    return f"{question.device.name}\n{question.trace.name}, {question.batch_in_words}"


def _bars(ax: Any, results: list[Result], study: Study) -> None:
    """A row for each cell and criterion."""
    names, ends = _names(study), []
    for number, result in enumerate(results):
        for k, name in enumerate(names):
            if name not in result.answer.findings:
                continue
            colour, marker, _ = _STYLE[name]
            at = number + (k + 0.5) / len(names) * 0.8 + 0.1
            low, first, middle, third, high = _five(result, name)
            if not math.isfinite(middle):
                middle = float(study.horizon)
                ax.annotate(
                    "", (middle + 1, at), (middle, at), arrowprops={"arrowstyle": "->", "color": colour}
                )
            if study.draws is not None:
                top, inner = (min(x, float(study.horizon)) for x in (high, third))
                ax.plot([min(low, top), top], [at, at], color=colour, linewidth=1.6, alpha=0.7)
                ax.plot([min(first, inner), inner], [at, at], color=colour, linewidth=4.5, alpha=0.7)
            ax.plot([middle], [at], marker=marker, color=colour, markersize=5.5, linestyle="none")
            ends.append(min(max(middle, high if math.isfinite(high) else middle), study.horizon))
        if number:
            ax.axhline(number, color=_GRID, linewidth=0.8)
    ax.set_ylim(len(results), 0)
    ax.set_yticks(np.arange(len(results)) + 0.5, [_label(r) for r in results], fontsize=8)
    starts = [result.answer.start for result in study.results]
    low, high = ax.get_xlim() if ax.get_autoscalex_on() is False else (min(starts), 0.0)
    ax.set_xlim(min(low, min(starts) - 0.6), max([high, *ends, min(starts) + 5]) + 0.7)
    ax.set_xlabel("year")


def _curves(ax: Any, result: Result) -> None:
    """The share of draws in which each criterion holds by a year."""
    drawn = result.spread
    assert drawn is not None
    last = max(float(np.quantile(m, 0.98, method="inverted_cdf")) for m in drawn.moments.values())
    end = min(last, drawn.horizon) + 1.0
    years = np.linspace(drawn.start, drawn.horizon, 4000)
    for name, moments in drawn.moments.items():
        share = 100 * np.searchsorted(np.sort(moments), years, side="right") / moments.size
        ax.plot(years, share, color=_STYLE[name][0], linewidth=2.2)
    everything = np.sort(drawn.everything)
    share = 100 * np.searchsorted(everything, years, side="right") / everything.size
    ax.plot(years, share, color=_INK, linewidth=1.2, linestyle=_DOTTED)
    ax.set_ylabel(_label(result) + "\nshare of draws (%)", fontsize=8)
    ax.set_ylim(-2, 104)
    low, high = ax.get_xlim() if ax.get_autoscalex_on() is False else (float(drawn.start), end)
    ax.set_xlim(min(low, drawn.start), max(high, end))
    ax.set_xlabel("year")


def _five(result: Result, name: str) -> list[float]:
    if result.spread is None:
        return [result.answer.findings[name].moment] * 5
    found = result.spread.quantiles(result.spread.moments[name])
    return [math.inf if q is None else q for q in found.values()]


def _handle(name: str, reference: str, plain: bool) -> Any:
    from matplotlib.lines import Line2D

    colour, marker, words = _STYLE[name]
    label = words.format(reference=reference)
    return Line2D([], [], color=colour, marker="" if plain else marker, linewidth=1.6, label=label)


def _plain(ax: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(_GRID)
    ax.tick_params(colors=_SOFT, labelcolor=_INK, length=0)
    ax.grid(visible=True, axis="x", color=_GRID, linewidth=0.7)
    ax.set_axisbelow(True)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, min_n_ticks=2))
