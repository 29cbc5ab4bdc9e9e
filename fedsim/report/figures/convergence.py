"""What is learnt, on the simulated clock: loss, accuracy and error rates against time.

Time runs along the bottom, rounds along the top. Train curves, where there are some, are thin.
"""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from fedsim.report.digest import Digest, Series
from fedsim.report.figures.chart import Chart, shading
from fedsim.report.live import ROUNDS, by_time, chart, figures
from fedsim.report.style import Canvas, Theme, canvas
from fedsim.report.text import dig, duration, figure, is_number, share, time_unit
from fedsim.results.metrics import HEARD, heard, shown
from fedsim.tasks.base import Metric

_SPLITS = ("validation", "test", "train")
_MOST_POINTS = 2000


def axis_label(metric: Metric) -> str:
    """What stands beside the axis of a metric."""
    unit = "%" if metric.unit == "share" else metric.unit
    return f"{metric.meaning} ({unit})" if unit else metric.meaning


def panels(digest: Digest) -> list[tuple[Metric, str]]:
    """The metrics for which some split has data, with the labels of their axes."""
    worth = shown(digest.run.manifest)
    return [(m, axis_label(m)) for m in worth if any((s, m.name) in digest.series for s in _SPLITS)]


def change(digest: Digest) -> str:
    """The finding: what became of the best-known metric."""
    for definition in shown(digest.run.manifest):
        metric = definition.name
        words = "validation loss" if metric == "loss" else definition.meaning
        for split in ("validation", "test"):
            series = digest.series.get((split, metric))
            if series is None or series.value.size < 2:
                continue
            first, last = float(series.value[0]), float(series.value[-1])
            written = share if definition.unit == "share" else figure
            took = duration(float(series.time_s[-1] - series.time_s[0]))
            subject = words[0].upper() + words[1:]
            subject += HEARD if metric == "wer" and heard(digest.summary, split) else ""
            if first == last:
                return f"{subject} stays at {written(first)} over {took}"
            verb = "falls" if last < first else "rises"
            by = f" by {share(abs(last / first - 1))}" if first > 0 and metric == "loss" else ""
            return f"{subject} {verb}{by} in {took}, from {written(first)} to {written(last)}"
    return "The model was evaluated once"


def _called(digest: Digest, split: str) -> str:
    """What a split's curve is called."""
    return split + (HEARD if heard(digest.summary, split) else "")


def _caption(digest: Digest) -> str:
    who = "speakers" if is_number(dig(digest.summary, "corpus", "speakers")) else "examples"
    known = any(heard(digest.summary, split) for split in _SPLITS)
    who += " of whom clients train on some" if known else " that no client trains on"
    return (
        f"Each point is the global model after a round, evaluated on {who}, "
        "at the simulated time at which that model existed."
    ) + shading(digest)


def _when(digest: Digest, series: Series) -> NDArray[np.float64] | None:
    """float64[2, n]: between which times the models of a curve exist; None if no speeds were drawn.

    A curve keeps its rounds and moves in time; where a round may never close the time is NaN.
    """
    if digest.intervals is None or not digest.rounds["round"].size:
        return None
    place = np.searchsorted(digest.rounds["round"], np.maximum(series.round, 0))
    place = np.minimum(place, digest.rounds["round"].size - 1)
    known = np.where(series.round >= 0, 1.0, 0.0)  # the initial model is there at time 0
    return np.array([digest.intervals[name][place] * known for name in ("end_low_s", "end_high_s")])


def _thin(series: Series) -> Series:
    step = -(-series.value.size // _MOST_POINTS)
    keep = np.unique(np.r_[0 : series.value.size : step, series.value.size - 1])
    return Series(series.round[keep], series.time_s[keep], series.value[keep])


def _panel(ax: Axes, digest: Digest, theme: Theme, about: Metric, label: str, second: float) -> None:
    metric, percent = about.name, about.unit == "share"
    factor = 100.0 if percent else 1.0
    colours = {"validation": theme.blue, "test": "#D55E00", "train": theme.soft}
    present = [s for s in _SPLITS if (s, metric) in digest.series]
    for split in present:
        series = _thin(digest.series[split, metric])
        few = series.value.size <= 60
        ax.plot(
            series.time_s / second,
            series.value * factor,
            color=colours[split],
            linewidth=0.9 if split == "train" else 1.8,
            marker="o" if few and split != "train" else None,
            markersize=3.2,
            label=_called(digest, split),
            zorder=2 if split == "train" else 3,
        )
        if (ends := _when(digest, series)) is not None:
            ax.fill_betweenx(
                series.value * factor, *(ends / second), color=colours[split], alpha=0.15, linewidth=0
            )
    main = digest.series[present[0], metric]
    if main.value.size > 1:
        end = float(main.value[-1])
        ax.annotate(
            share(end) if percent else figure(end),
            (main.time_s[-1] / second, end * factor),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            color=colours[present[0]],
            weight="bold",
            size=9,
            annotation_clip=False,
        )
    ax.set_ylabel(textwrap.fill(label, 18))
    if len(present) > 1 or any(heard(digest.summary, split) for split in present):
        ax.legend(frameon=False, fontsize=8.5, labelcolor=theme.ink, handlelength=1.4, loc="best")
    if percent:
        ax.set_ylim(bottom=0)


def round_ticks(digest: Digest, most: int = 6) -> list[tuple[float, int]]:
    """Some rounds with the times at which they closed: (time_s, how many rounds were done by then)."""
    ends = digest.rounds["end_s"]
    if ends.size < 2:
        return [(float(end), 1) for end in ends]
    for step in (s * 10**power for power in range(9) for s in (1, 2, 5)):
        if ends.size / step <= most:
            return [(float(ends[at - 1]), at) for at in range(step, ends.size + 1, step)]
    return []


def draw(digest: Digest, theme: Theme) -> Canvas:
    """Draw the convergence curves."""
    drawn = panels(digest)
    height = 2.8 if len(drawn) == 1 else 0.75 + 1.5 * len(drawn)
    with canvas(theme, change(digest), height) as frame:
        axes = frame.axes(len(drawn), sharex=True)
        latest = max(float(s.time_s.max()) for s in digest.series.values())
        second, unit = time_unit(latest)
        for ax, (metric, label) in zip(axes, drawn, strict=True):
            _panel(ax, digest, theme, metric, label, second)
        axes[-1].set_xlabel(f"simulated time ({unit})")
        axes[-1].set_xlim(left=0)
        axes[-1].margins(x=0.02)
        ticks = round_ticks(digest)
        if ticks:
            top = axes[0].secondary_xaxis("top")
            top.set_xticks([t / second for t, _ in ticks], [f"{n:,}" for _, n in ticks])
            top.tick_params(colors=theme.soft, labelsize=8.5, length=3, color=theme.soft)
            top.set_xlabel("rounds done", color=theme.soft)
            top.spines["top"].set_visible(False)
        frame.figure.align_ylabels(axes)
        return frame


def live(digest: Digest) -> dict[str, Any]:
    """The curves, by simulated time or by rounds done."""
    shades = {"validation": "blue", "test": "test", "train": "soft"}
    made = []
    for about, label in panels(digest):
        metric, percent = about.name, about.unit == "share"
        factor = 100.0 if percent else 1.0
        lines = []
        for split in (s for s in _SPLITS if (s, metric) in digest.series):
            series = _thin(digest.series[split, metric])
            ends = _when(digest, series)
            lines.append(
                {
                    **({} if ends is None else {"within": [figures(end, 9) for end in ends]}),
                    "label": _called(digest, split),
                    "colour": shades[split],
                    "thin": split == "train",
                    "width": 1 if split == "train" else 2,
                    "x": {"time": figures(series.time_s, 9), "round": (series.round + 1).tolist()},
                    "y": figures(series.value * factor),
                }
            )
        shape = "percent" if percent else "number"
        made.append({"kind": "lines", "ylabel": label, "format": shape, "zero": percent, "series": lines})
    latest = max(float(s.time_s.max()) for s in digest.series.values())
    modes = [by_time(*time_unit(latest)), {**ROUNDS, "label": "rounds done"}]
    return chart("convergence", modes, *made)


CHART = Chart(
    name="convergence",
    heading="Convergence",
    ready=lambda digest: bool(panels(digest)),
    title=change,
    caption=_caption,
    draw=draw,
    live=live,
)
