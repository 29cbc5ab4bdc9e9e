"""Who took part how often: clients by the number of rounds that they completed."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim.report.digest import Digest
from fedsim.report.figures.chart import Chart
from fedsim.report.live import by, chart, figures
from fedsim.report.style import SERIES, Canvas, Theme, canvas, legend, legend_in, whole_numbers
from fedsim.report.text import name, share
from fedsim.words import count, plural

MOST_BARS = 30
MOST_DEVICES = 8
_BESIDE = ["00000000"]


def edges(smallest: int, largest: int, most: int = MOST_BARS) -> NDArray[np.int64]:
    """Whole-number bin edges s, s+w, s+2w, ... of at most ``most`` bars that cover smallest..largest."""
    width = -(-(largest - smallest + 1) // most)
    return np.arange(smallest, largest + width + 1, width)


def title(digest: Digest) -> str:
    """The finding: how many ever completed, and how evenly."""
    part = digest.summary["participation"]
    total, completed, gini = part["clients"], part["completed"], part["gini"]
    if not completed:
        return f"None of {plural(total, 'client')} ever completes a round"
    who = (
        f"All {count(total)} clients complete"
        if completed == total
        else (f"{count(completed)} of {count(total)} clients ({share(completed / total)}) complete")
    )
    if total == 1:
        return f"The only client completes {plural(part['most'], 'round')}"
    if part["most"] == 1:
        return f"{who} one round each"
    if completed == total and gini < 1e-12:
        return f"{who} {count(part['most'])} rounds each"
    return f"{who} at least one round, the busiest {count(part['most'])} (Gini {gini:.2f})"


def stacks(digest: Digest, border: NDArray[np.int64]) -> list[tuple[str, str, NDArray[np.int64]]]:
    """Clients in each bar by device: label, name of its colour, and heights."""
    sums = digest.sums
    completed, device = sums.completed[: sums.width], sums.device_of[: sums.width]
    order = [d for d in digest.devices if d in sums.devices.names]
    groups = [
        (name(d, 22), device == sums.devices.names.index(d), f"series-{i % SERIES}")
        for i, d in enumerate(order[:MOST_DEVICES])
    ]
    rest = [sums.devices.names.index(d) for d in order[MOST_DEVICES:]]
    if rest:
        groups.append(("other devices", np.isin(device, rest), "soft"))
    groups.append(("never chosen", device < 0, "phase-waiting"))
    made = [(label, shade, np.histogram(completed[who], border)[0]) for label, who, shade in groups]
    return [entry for entry in made if entry[2].any()]


def draw(digest: Digest, theme: Theme) -> Canvas:
    """Draw a histogram, stacked by device."""
    sums = digest.sums
    completed = sums.completed[: sums.width]
    border = edges(int(completed.min()), int(completed.max()))
    bar = int(border[1] - border[0])
    centre = border[:-1] + (bar - 1) / 2
    names = [name(device, 22) for device in digest.devices[: MOST_DEVICES + 1]]
    with canvas(theme, title(digest), 2.9 + legend_in([*names, "never chosen"], _BESIDE)) as frame:
        (ax,) = frame.axes()
        base = np.zeros(centre.size)
        for label, shade, heights in stacks(digest, border):
            at = shade.removeprefix("series-")
            colour = theme.series[int(at)] if at != shade else {"soft": theme.soft}.get(shade, theme.wait)
            ax.bar(centre, heights, width=0.86 * bar, bottom=base, color=colour, label=label)
            base += heights
        ax.axvline(float(completed.mean()), color=theme.ink, linewidth=1.0, linestyle=(0, (4, 2)))
        ax.set_ylabel("clients")
        ax.set_xlabel("rounds completed (dashed: the mean)")
        ax.set_xlim(border[0] - 0.6 * bar, border[-1] - 0.4 * bar)
        whole_numbers(ax, "x")
        whole_numbers(ax, "y")
        legend(frame, ax, beside=_BESIDE)
        return frame


def live(digest: Digest) -> dict[str, Any]:
    """The histogram's bars."""
    sums = digest.sums
    completed = sums.completed[: sums.width]
    border = edges(int(completed.min()), int(completed.max()))
    spans = [(int(a), int(b) - 1) for a, b in pairwise(border)]
    panel = {
        "kind": "stack",
        "height": 300,
        "whole": True,
        "ylabel": "clients",
        "format": "count",
        "from": {"value": (border[:-1] - 0.5).tolist()},
        "to": {"value": (border[1:] - 0.5).tolist()},
        "names": [f"{plural(b, 'round')}" if a == b else f"{a} to {b} rounds" for a, b in spans],
        "series": [
            {"label": label, "colour": shade, "y": heights.tolist()}
            for label, shade, heights in stacks(digest, border)
        ],
        "line": {"x": figures([float(completed.mean())])[0]},
    }
    return chart("participation", by("rounds completed (dashed: the mean)"), panel)


CHART = Chart(
    name="participation",
    heading="Participation",
    ready=lambda digest: digest.summary["client_rounds"] > 0,
    title=title,
    caption=lambda digest: (
        "How many clients completed so many rounds. The Gini coefficient is 0 if all completed equally many "
        "and 1 if one client did all."
    ),
    draw=draw,
    live=live,
)
