"""One round, client by client: a bar a client, the straggler marked, failures where they happened."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from fedsim.outcomes import OUTCOMES
from fedsim.report.closeup import Closeup
from fedsim.report.digest import Digest
from fedsim.report.figures.chart import Chart
from fedsim.report.live import by, chart, figures
from fedsim.report.style import Canvas, Theme, canvas, legend
from fedsim.report.text import duration, name, time_unit
from fedsim.report.words import OUTCOME_WORDS
from fedsim.words import plural

_COMPLETED = OUTCOMES.index("completed")


def title(digest: Digest) -> str:
    """The finding: who held the round up, and by how much."""
    closeup = digest.closeup
    assert closeup is not None
    if closeup.straggler is None:
        return f"Round {closeup.round}: nobody completed in {duration(closeup.end_s - closeup.start_s)}"
    who = f"client {closeup.client[closeup.straggler]} ({name(closeup.device[closeup.straggler])})"
    last_s = float(closeup.ended_s[closeup.straggler])
    if closeup.end_s - last_s > 0.01 * max(closeup.end_s - closeup.start_s, 1e-9):
        return (
            f"Round {closeup.round} closes after {duration(closeup.end_s - closeup.start_s)}, "
            f"{duration(closeup.end_s - last_s)} after its last update, from {who}"
        )
    if math.isfinite(closeup.lead_s) and closeup.lead_s > 0:
        return f"Round {closeup.round} waits {duration(closeup.lead_s)} for its last client alone: {who}"
    return f"Round {closeup.round} ends with {who} after {duration(closeup.end_s - closeup.start_s)}"


def _phases(closeup: Closeup) -> list[tuple[str, NDArray[np.float64]]]:
    """What the clients did one after another, and for how many seconds; startup only where there is any."""
    starts = [("startup", closeup.startup_s)] if closeup.startup_s.any() else []
    return [
        ("download", closeup.download_s),
        *starts,
        ("compute", closeup.compute_s),
        ("upload", closeup.upload_s),
    ]


def _row(ax: Axes, closeup: Closeup, at: int, theme: Theme, origin: float, second: float) -> None:
    start = (float(closeup.dispatched_s[at]) - origin) / second
    for phase, column in _phases(closeup):
        seconds = float(column[at])
        ax.barh(at, seconds / second, left=start, height=0.68, color=theme.phase[phase])
        start += seconds / second
    word = OUTCOMES[closeup.outcome[at]]
    end = (float(closeup.ended_s[at]) - origin) / second
    close = (closeup.end_s - origin) / second
    if word == "completed":
        if close > end:
            ax.barh(at, close - end, left=end, height=0.16, color=theme.phase["waiting"])
        return
    ax.plot(
        [end], [at], marker="X", markersize=6.5, color=theme.outcome[word], markeredgecolor=theme.paper,
        markeredgewidth=0.8, zorder=5, clip_on=False,
    )  # fmt: skip
    span = ax.get_xlim()[1]
    left_side = end > 0.72 * span
    ax.annotate(
        OUTCOME_WORDS[word],
        (end, at),
        xytext=(-7 if left_side else 7, 0),
        textcoords="offset points",
        ha="right" if left_side else "left",
        va="center",
        size=8,
        color=theme.ink,
        bbox={"boxstyle": "round,pad=0.15", "facecolor": theme.paper, "edgecolor": "none", "alpha": 0.85},
        zorder=6,
    )


def draw(digest: Digest, theme: Theme) -> Canvas:
    """Draw the round."""
    closeup = digest.closeup
    assert closeup is not None
    size = closeup.client.size
    origin = min(closeup.start_s, float(closeup.dispatched_s.min()))
    until = max(closeup.end_s, float(closeup.ended_s.max()))
    second, unit = time_unit(until - origin)
    with canvas(theme, title(digest), 1.2 + 0.205 * max(size, 3)) as frame:
        (ax,) = frame.axes()
        ax.set_xlim(0, max((until - origin) / second, 1e-9) * 1.02)
        for at in range(size):
            _row(ax, closeup, at, theme, origin, second)
        for phase, _ in _phases(closeup):
            ax.barh([0], [0], color=theme.phase[phase], label=phase)
        ax.barh([0], [0], color=theme.phase["waiting"], label="waiting")
        ax.axvline((closeup.end_s - origin) / second, color=theme.ink, linewidth=1.0, linestyle=(0, (4, 2)))
        rows = [f"{name(d, 20)}  {c}" for d, c in zip(closeup.device, closeup.client, strict=True)]
        ax.set_yticks(range(size), rows)
        ax.tick_params(axis="y", labelcolor=theme.ink, labelsize=8)
        if closeup.straggler is not None:
            last = ax.get_yticklabels()[closeup.straggler]
            last.set_fontweight("bold")
            last.set_color("#D55E00" if theme.name == "light" else "#ff8a3d")
        ax.set_ylim(size - 0.4, -0.6)
        ax.grid(visible=False, axis="y")
        ax.grid(visible=True, axis="x", color=theme.grid, linewidth=0.7)
        ax.set_xlabel(f"time since the start ({unit})")
        legend(frame, ax, beside=rows)
        return frame


def caption(digest: Digest) -> str:
    """How to read it."""
    closeup = digest.closeup
    assert closeup is not None
    size = closeup.client.size
    whole = (
        f"{size} of {plural(closeup.cohort, 'client')}" if size < closeup.cohort else plural(size, "client")
    )
    return (
        f"Round {closeup.round} with {whole}, by device and client number, ordered by their end; "
        "the last to complete is set in bold. A cross marks where a client dropped out, "
        "the dashed line when the round closed."
    )


def live(digest: Digest) -> dict[str, Any]:
    """The round's spans, in seconds since its start."""
    closeup = digest.closeup
    assert closeup is not None
    origin = min(closeup.start_s, float(closeup.dispatched_s.min()))
    until = max(closeup.end_s, float(closeup.ended_s.max()))
    second, unit = time_unit(until - origin)
    phases, rows = _phases(closeup), []
    for at in range(closeup.client.size):
        start = float(closeup.dispatched_s[at]) - origin
        bits = []
        for place, (_, column) in enumerate(phases):
            bits.append([place, *figures([start, start + float(column[at])])])
            start += float(column[at])
        word, end = OUTCOMES[closeup.outcome[at]], float(closeup.ended_s[at]) - origin
        if word == "completed":
            bits.append([len(phases), *figures([end, max(end, closeup.end_s - origin)])])
        row: dict[str, Any] = {
            "label": name(closeup.device[at], 20),
            "tag": str(closeup.client[at]),
            "bits": bits,
        }
        if word != "completed":
            row["marks"] = [{"x": figures([end])[0], "text": OUTCOME_WORDS[word], "colour": word}]
        if at == closeup.straggler:
            row["strong"] = True
        rows.append(row)
    series: list[dict[str, Any]] = [
        {"label": phase, "colour": f"phase-{phase}"} for phase in (*(phase for phase, _ in phases), "waiting")
    ]
    series[-1]["low"] = True
    panel = {
        "kind": "rows",
        "divisor": second,
        "format": "s",
        "series": series,
        "rows": rows,
        "line": {"x": figures([closeup.end_s - origin])[0]},
    }
    return chart("round", by(f"time since the start ({unit})"), panel)


CHART = Chart(
    name="round",
    heading="One round",
    ready=lambda digest: digest.closeup is not None,
    title=title,
    caption=caption,
    draw=draw,
    live=live,
)
