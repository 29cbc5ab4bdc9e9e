"""Who fits: footprint against the memory that was left, with the zone in which a device runs out."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from fedsim.outcomes import OUTCOMES
from fedsim.report.digest import Digest
from fedsim.report.figures.chart import Chart
from fedsim.report.live import by, chart, figures
from fedsim.report.style import SERIES, Canvas, Theme, canvas, legend, legend_in
from fedsim.report.text import name, share, size

_OOM = OUTCOMES.index("oom")
MOST_DEVICES = 10
_MARKERS = "osD^vPph*8"
_BESIDE = ["000000 GB"]


def title(digest: Digest) -> str:
    """The finding: who ran out of memory, or how much room was left at least."""
    summary = digest.summary
    total, lost = summary["client_rounds"], summary["outcomes"]["oom"]
    if not lost:
        room = min(
            (float((m.available_bytes - m.footprint_bytes).min()) for m in digest.memory.values()),
            default=0.0,
        )
        tail = f": at least {size(room)} are left" if room > 0 else ""
        return f"Every client-round fits into memory{tail}"
    by = {d: e["outcomes"]["oom"] for d, e in summary["devices"].items() if e["outcomes"]["oom"]}
    worst = max(by, key=lambda d: by[d])
    said = f"{share(lost / total)} of client-rounds run out of memory"
    if len(by) == 1:
        return f"{said}, all on {name(worst)}" if len(summary["devices"]) > 1 else said
    return f"{said}, {share(by[worst] / lost)} of them on {name(worst)}"


def _points(ax: Axes, digest: Digest, theme: Theme) -> tuple[float, float]:
    floor = min(float(memory.footprint_bytes.min()) for memory in digest.memory.values()) / 8
    lowest, highest = np.inf, 0.0
    drawn = [d for d in digest.devices if d in digest.memory][:MOST_DEVICES]
    for at, device in enumerate(drawn):
        memory = digest.memory[device]
        left = np.maximum(memory.available_bytes, floor)
        oom = memory.outcome == _OOM
        colour = theme.series[at % len(theme.series)]
        marker = _MARKERS[at % len(_MARKERS)]
        faint = 0.35 if left.size > 200 else 0.7
        ax.scatter(
            left[~oom], memory.footprint_bytes[~oom], s=17, marker=marker, color=colour, alpha=faint,
            linewidths=0, label=None, zorder=3,
        )  # fmt: skip
        ax.scatter(
            left[oom], memory.footprint_bytes[oom], s=24, marker="x", color=colour, linewidths=1.3, zorder=4
        )
        ax.scatter([], [], s=26, marker=marker, color=colour, label=name(device, 22))
        lowest = min(lowest, float(left.min()), float(memory.footprint_bytes.min()))
        highest = max(highest, float(left.max()), float(memory.footprint_bytes.max()))
    if any((digest.memory[d].outcome == _OOM).any() for d in drawn):
        ax.scatter([], [], s=26, marker="x", color=theme.ink, linewidths=1.3, label="ran out of memory")
    return lowest, highest


def _bytes(value: float, _: object = None) -> str:
    for unit, word in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if value >= unit:
            return f"{value / unit:g} {word}"
    return f"{value / 1e3:g} kB"


def draw(digest: Digest, theme: Theme) -> Canvas:
    """Draw footprint over available memory, both logarithmic."""
    names = [name(device, 22) for device in digest.devices if device in digest.memory][:MOST_DEVICES]
    grow = legend_in([*names, "ran out of memory"], _BESIDE)
    with canvas(theme, title(digest), 3.6 + grow) as frame:
        (ax,) = frame.axes()
        lowest, highest = _points(ax, digest, theme)
        low, high = lowest / 1.5, highest * 1.5
        footprints = np.concatenate([m.footprint_bytes for m in digest.memory.values()])
        bottom, top = float(footprints.min()) / 2.2, float(footprints.max()) * 2.2
        edge = np.array([min(low, bottom), max(high, top)])
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlim(low, high)
        ax.set_ylim(bottom, top)
        ax.fill_between(edge, edge, edge[1], color="#D55E00", alpha=0.13, linewidth=0, zorder=1)
        ax.plot(edge, edge, color="#D55E00", linewidth=1.2, zorder=2)
        ax.text(
            0.015, 0.975, "does not fit", transform=ax.transAxes, va="top", size=9, weight="bold",
            color="#D55E00" if theme.name == "light" else "#ff8a3d",
        )  # fmt: skip
        ax.text(
            0.985, 0.03, "fits", transform=ax.transAxes, ha="right", size=9, weight="bold", color="#009E73"
        )
        for axis in (ax.xaxis, ax.yaxis):
            near, far = axis.get_view_interval()
            decades = float(np.log10(far / near))
            subs = (
                (1.0,)
                if decades > 2.2
                else (1.0, 2.0, 5.0)
                if decades > 0.8
                else (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
            )
            axis.set_major_locator(LogLocator(base=10, subs=subs, numticks=12))
            axis.set_major_formatter(FuncFormatter(_bytes))
            axis.set_minor_formatter(NullFormatter())
        ax.minorticks_off()
        ax.grid(visible=True, axis="both", color=theme.grid, linewidth=0.7)
        ax.set_xlabel("memory available to training at dispatch")
        ax.set_ylabel("footprint of a training step")
        legend(frame, ax, beside=_BESIDE)
        return frame


def live(digest: Digest) -> dict[str, Any]:
    """The marks, thinned so that all devices together stay few, with those that ran out kept apart."""
    drawn = [d for d in digest.devices if d in digest.memory][:MOST_DEVICES]
    footprints = np.concatenate([digest.memory[d].footprint_bytes for d in drawn])
    floor = float(footprints.min()) / 8
    left = np.concatenate([np.maximum(digest.memory[d].available_bytes, floor) for d in drawn])
    panel = {
        "kind": "points",
        "floor": figures([floor])[0],
        "x": figures([min(left.min(), footprints.min()) / 1.5, max(left.max(), footprints.min()) * 1.5]),
        "y": figures([footprints.min() / 2.2, footprints.max() * 2.2]),
        "ylabel": "footprint of a training step",
        "series": [
            {
                "label": name(device, 22),
                "colour": f"series-{at % SERIES}",
                "x": figures(digest.memory[device].available_bytes, 4),
                "y": figures(digest.memory[device].footprint_bytes, 4),
                "oom": (digest.memory[device].outcome == _OOM).astype(int).tolist(),
            }
            for at, device in enumerate(drawn)
        ],
    }
    return chart("memory", by("memory available to training at dispatch"), panel)


CHART = Chart(
    name="memory",
    heading="Memory",
    ready=lambda digest: bool(digest.memory),
    title=title,
    caption=lambda digest: (
        "One mark for each client-round (a sample of many). Available is what the system and other programs "
        "leave when the client is sent to work; they may take more while it trains, so a cross where "
        "it fits ran out later."
    ),
    draw=draw,
    live=live,
)
