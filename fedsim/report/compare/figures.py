"""The pictures of a comparison: curves on one clock, progress, outcomes and energy, run by run."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from fedsim.outcomes import OUTCOMES
from fedsim.report.compare.gather import Entry, best_split
from fedsim.report.compare.tables import Compared, finding
from fedsim.report.compare.targets import SHARES, Target, subject
from fedsim.report.digest import Series
from fedsim.report.figures import bars
from fedsim.report.figures.bars import Bars, Part
from fedsim.report.figures.chart import Chart
from fedsim.report.figures.convergence import axis_label
from fedsim.report.live import ROUNDS, by, by_time, chart, colours, figures
from fedsim.report.style import SERIES, Canvas, Theme, canvas, legend, legend_in
from fedsim.report.text import duration, energy, energy_unit, listed, name, share, time_unit
from fedsim.report.words import OUTCOME_WORDS
from fedsim.results.metrics import shown

#: From this ratio of the longest run to the shortest on, time runs along a logarithmic axis.
WIDE = 20.0
_MOST_POINTS = 600
#: Times worth a tick on a logarithmic axis, in seconds.
_TICKS_S = (
    1, 10, 60, 600, 3600, 6 * 3600, 86400, 7 * 86400, 30 * 86400, 365.25 * 86400, 3652.5 * 86400,
)  # fmt: skip


def learnt(compared: Compared) -> list[tuple[str, str]]:
    """The evaluated curves that some run has, and the label of each one's axis."""
    metrics = {m.name: m for entry in compared.entries for m in shown(entry.run.manifest)}
    found = [(best_split(compared.entries, name), axis_label(metric)) for name, metric in metrics.items()]
    return [(curve, label) for curve, label in found if curve]


def progress(compared: Compared) -> list[tuple[str, str]]:
    """The curves that every run has."""
    return [("updates", "completed updates"), ("rounds", "rounds closed")]


def wide(compared: Compared) -> bool:
    """Whether the clocks are so different that a linear axis would hide the short runs."""
    ends = [entry.end_s for entry in compared.entries]
    return min(ends) > 0 and max(ends) > WIDE * min(ends)


def _thin(series: Series) -> NDArray[np.int64]:
    step = -(-series.value.size // _MOST_POINTS)
    return np.unique(np.r_[0 : series.value.size : step, series.value.size - 1]).astype(np.int64)


def _factor(curve: str) -> float:
    return 100.0 if curve.rpartition(".")[2] in SHARES else 1.0


def _targets(compared: Compared, curve: str) -> list[Target]:
    return [target for target, _ in compared.targets if target.curve == curve]


def _panel(ax: Axes, compared: Compared, theme: Theme, curve: str, second: float, log: bool) -> None:
    few = max(e.curves[curve].value.size for e in compared.entries if curve in e.curves) <= 40
    for at, entry in enumerate(compared.entries):
        series = entry.curves.get(curve)
        look = {"color": theme.series[at % SERIES], "linestyle": _dash(at), "linewidth": 1.7}
        if series is None:
            ax.plot([], [], label=name(entry.label, 34), **look)
            continue
        keep = _thin(series)
        x, y = series.time_s[keep] / second, series.value[keep] * _factor(curve)
        here = x > 0 if log else np.full(x.size, True)
        ax.plot(
            x[here], y[here], marker="o" if few else None, markersize=3, label=name(entry.label, 34), **look
        )  # fmt: skip
    for target in _targets(compared, curve):
        ax.axhline(target.value * _factor(curve), color=theme.soft, linewidth=0.9, linestyle=(0, (2, 2)))
    if curve.rpartition(".")[2] in SHARES:
        ax.set_ylim(bottom=0)


def _dash(at: int) -> Any:
    """Whole lines for the first eight runs, dashes for the rest."""
    return "-" if at < SERIES else (0, (4, 2))


def _draw(compared: Compared, theme: Theme, title: str, curves: list[tuple[str, str]]) -> Canvas:
    labels = [name(entry.label, 34) for entry in compared.entries]
    height = 0.75 + 1.65 * len(curves) + legend_in(labels, ("0000",))
    log = wide(compared)
    with canvas(theme, title, height) as frame:
        axes = frame.axes(len(curves), sharex=True)
        latest = max(entry.end_s for entry in compared.entries)
        second, unit = (1.0, "") if log else time_unit(latest)
        for ax, (curve, label) in zip(axes, curves, strict=True):
            _panel(ax, compared, theme, curve, second, log)
            ax.set_ylabel(label)
        if log:
            _log_axis(axes[-1], compared, [curve for curve, _ in curves])
        else:
            axes[-1].set_xlabel(f"simulated time ({unit})")
            axes[-1].set_xlim(left=0)
        legend(frame, axes[0])
        frame.figure.align_ylabels(axes)
        return frame


def _log_axis(ax: Axes, compared: Compared, curves: list[str]) -> None:
    """Time along a logarithmic axis with ticks that people know."""
    times = [e.curves[c].time_s for e in compared.entries for c in curves if c in e.curves]
    positive = np.concatenate([t[t > 0] for t in times])
    low, high = float(positive.min()), float(positive.max())
    ax.set_xscale("log")
    ticks = [tick for tick in _TICKS_S if low / 3 <= tick <= high * 3]
    ax.set_xlim(min(low / 1.15, ticks[0]), max(high * 1.15, ticks[-1]))
    ax.set_xticks(ticks, [duration(float(tick)) for tick in ticks])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("simulated time (logarithmic)")


def _line(entry: Entry, at: int, curve: str) -> dict[str, Any]:
    series = entry.curves[curve]
    keep = _thin(series)
    spent = np.concatenate([[0.0], np.cumsum(entry.rounds["energy_j"])])
    done = np.searchsorted(entry.rounds["round"], series.round[keep], side="right")
    return {
        "label": name(entry.label, 34),
        "colour": f"series-{at % SERIES}",
        **({"dash": [7, 4]} if at >= SERIES else {}),
        "x": {
            "time": figures(series.time_s[keep], 9),
            "round": (series.round[keep] + 1).tolist(),
            "energy": figures(spent[done], 9),
        },
        "y": figures(series.value[keep] * _factor(curve)),
    }


def _live(compared: Compared, chart_name: str, curves: list[tuple[str, str]]) -> dict[str, Any]:
    panels = []
    for curve, label in curves:
        shape = "percent" if curve.rpartition(".")[2] in SHARES else "number"
        shape = "count" if curve in ("rounds", "updates") else shape
        lines = [_line(e, at, curve) for at, e in enumerate(compared.entries) if curve in e.curves]
        panel: dict[str, Any] = {
            "kind": "lines",
            "ylabel": label,
            "format": shape,
            "zero": shape != "number",
            "named": True,
            "series": lines,
        }
        for target in _targets(compared, curve):
            panel["target"] = {"y": target.value * _factor(curve), "label": f"target {target.shown}"}
        panels.append(panel)
    latest = max(entry.end_s for entry in compared.entries)
    joule, unit = energy_unit(max(entry.total("energy_j") for entry in compared.entries))
    linear = by_time(*time_unit(latest))
    log = {"name": "time", "short": "log time", "label": "simulated time (logarithmic)", "log": True}
    spent = {"name": "energy", "short": "energy", "label": f"energy spent ({unit})", "divisor": joule}
    modes = [log, linear] if wide(compared) else [linear, log]
    return chart(chart_name, [*modes, {**ROUNDS, "label": "rounds done"}, spent], *panels)


def _learning_title(compared: Compared) -> str:
    """What the runs come to in the best-known metric."""
    for target, found in compared.targets:
        if "." in target.curve:
            return finding(target, found).partition(". ")[0]
    curve = learnt(compared)[0][0]
    return f"{subject(curve).capitalize()} on one clock, where it was evaluated"


def _progress_title(compared: Compared) -> str:
    for target, found in compared.targets:
        if target.curve == "updates":
            return finding(target, found).partition(". ")[0]
    return "How fast updates come in, and rounds close"


def _outcomes(compared: Compared) -> Bars:
    shares = {
        word: [100 * e.total(word) / e.client_rounds if e.client_rounds else 0.0 for e in compared.entries]
        for word in OUTCOMES
    }
    parts = [Part(OUTCOME_WORDS[word], word, values) for word, values in shares.items() if any(values)]
    labels = [entry.label for entry in compared.entries]
    return Bars(labels, parts, [], "share of client-rounds (%)", 1.0, "percent")


def _outcomes_title(compared: Compared) -> str:
    done = {
        e.label: e.total("completed") / e.client_rounds if e.client_rounds else 0.0 for e in compared.entries
    }
    best, worst = max(done, key=lambda one: done[one]), min(done, key=lambda one: done[one])
    if math.isclose(done[best], done[worst]):
        return f"{share(done[best])} of client-rounds complete in every run"
    return f"{share(done[best])} of client-rounds complete in {best}, {share(done[worst])} in {worst}"


def _energy(compared: Compared) -> Bars:
    total = [entry.total("energy_j") for entry in compared.entries]
    lost = [entry.total("wasted_j") for entry in compared.entries]
    joule, unit = energy_unit(max(total))
    spent = [a - b for a, b in zip(total, lost, strict=True)]
    parts = [Part("went into the model", "completed", spent), Part("wasted", "phase-lost", lost)]
    notes = [energy(a) + (f", {share(b / a)} wasted" if b else "") for a, b in zip(total, lost, strict=True)]
    labels = [entry.label for entry in compared.entries]
    return Bars(labels, parts, notes, f"energy over the whole run ({unit})", joule, "j")


def _energy_title(compared: Compared) -> str:
    spent = {entry.label: entry.total("energy_j") for entry in compared.entries}
    least, most = min(spent, key=lambda one: spent[one]), max(spent, key=lambda one: spent[one])
    if math.isclose(spent[least], spent[most]):
        return f"Every run spends {energy(spent[most])}"
    return f"{least} spends {energy(spent[least])} in all, {most} {energy(spent[most])}"


def _splits(compared: Compared) -> str:
    """Of which splits the curves are, for a caption."""
    splits = list(dict.fromkeys(curve.partition(".")[0] for curve, _ in learnt(compared)))
    return f"the {listed(splits)} split{'s' if len(splits) > 1 else ''}"


def _without(compared: Compared) -> str:
    """Which runs have no curve, for a caption; may be empty."""
    shown = {curve for curve, _ in learnt(compared)}
    none = [entry.label for entry in compared.entries if not shown & set(entry.curves)]
    return f" {listed(none, most=6)} learnt nothing." if none else ""


CHARTS: tuple[Chart[Compared], ...] = (
    Chart(
        name="curves",
        heading="Learning",
        ready=lambda compared: bool(learnt(compared)),
        title=_learning_title,
        caption=lambda compared: (
            f"Each point is a global model on {_splits(compared)}, at the simulated time at which "
            "it existed. Dashed across: the target of the tables." + _without(compared)
        ),
        draw=lambda compared, theme: _draw(compared, theme, _learning_title(compared), learnt(compared)),
        live=lambda compared: _live(compared, "curves", learnt(compared)),
    ),
    Chart(
        name="progress",
        heading="Progress",
        ready=lambda compared: True,
        title=_progress_title,
        caption=lambda compared: (
            "A completed update is a client's work that went into the model. Rounds of different runs "
            "may be of different sizes."
        ),
        draw=lambda compared, theme: _draw(compared, theme, _progress_title(compared), progress(compared)),
        live=lambda compared: _live(compared, "progress", progress(compared)),
    ),
    Chart(
        name="outcomes",
        heading="Outcomes",
        ready=lambda compared: any(entry.client_rounds for entry in compared.entries),
        title=_outcomes_title,
        caption=lambda compared: "How the client-rounds of each run ended.",
        draw=lambda compared, theme: bars.draw(
            _outcomes(compared), _outcomes_title(compared), theme, colours(theme)
        ),
        live=lambda compared: chart(
            "outcomes", by("share of client-rounds (%)"), bars.panel(_outcomes(compared))
        ),
    ),
    Chart(
        name="energy",
        heading="Energy",
        ready=lambda compared: any(entry.total("energy_j") > 0 for entry in compared.entries),
        title=_energy_title,
        caption=lambda compared: (
            "What clients drew over the whole run; wasted is what clients drew whose update never went "
            "into the model. Runs of different lengths are not comparable by this: see the targets."
        ),
        draw=lambda compared, theme: bars.draw(
            _energy(compared), _energy_title(compared), theme, colours(theme)
        ),
        live=lambda compared: chart(
            "energy",
            by(_energy(compared).xlabel),
            bars.panel(_energy(compared), [energy(entry.total("energy_j")) for entry in compared.entries]),
        ),
    ),
)
