"""Energy by device, well spent and wasted."""

from __future__ import annotations

from typing import Any

from fedsim.report.digest import Digest
from fedsim.report.figures.chart import Chart
from fedsim.report.live import by, chart, figures
from fedsim.report.style import Canvas, Theme, canvas, legend
from fedsim.report.text import energy, energy_unit, name, share

MOST_DEVICES = 14


def title(digest: Digest) -> str:
    """The finding: how much, and how much of it for nothing."""
    summary = digest.summary
    said = f"The clients spend {energy(summary['energy_j'])}"
    wasted = summary["wasted_j_share"]
    if not wasted:
        return f"{said}, none of it wasted"
    devices = summary["devices"]
    worst = max(devices, key=lambda d: devices[d]["wasted_j"])
    tail = ""
    if len(devices) > 1:
        part = devices[worst]["wasted_j"] / summary["wasted_j"]
        tail = (
            f", all on {name(worst)}"
            if part == 1
            else f", most of that on {name(worst)}"
            if part > 0.5
            else ""
        )
    part = "all" if wasted == 1 else share(wasted)
    return f"{said}, {part} of it on work that is lost{tail}"


def draw(digest: Digest, theme: Theme) -> Canvas:
    """Draw one stacked bar for each device."""
    devices = digest.summary["devices"]
    shown = sorted(devices, key=lambda d: (-devices[d]["energy_j"], d))[:MOST_DEVICES]
    largest = devices[shown[0]]["energy_j"]
    joule, unit = energy_unit(largest)
    with canvas(theme, title(digest), 1.0 + 0.36 * len(shown)) as frame:
        (ax,) = frame.axes()
        places = list(range(len(shown)))
        spent = [(devices[d]["energy_j"] - devices[d]["wasted_j"]) / joule for d in shown]
        wasted = [devices[d]["wasted_j"] / joule for d in shown]
        if any(spent):
            green = theme.outcome["completed"]
            ax.barh(places, spent, height=0.62, color=green, label="went into the model")
        if any(wasted):
            ax.barh(places, wasted, left=spent, height=0.62, color=theme.phase["lost"], label="wasted")
        for at, device in enumerate(shown):
            total, lost = devices[device]["energy_j"], devices[device]["wasted_j"]
            words = energy(total) + (f", {share(lost / total)} wasted" if lost else "")
            ax.annotate(
                words, (total / joule, at), xytext=(5, 0), textcoords="offset points", va="center", size=8.5,
                color=theme.ink,
            )  # fmt: skip
        ax.set_xlim(0, 1.42 * largest / joule)
        ax.set_yticks(places, [name(device, 22) for device in shown])
        ax.invert_yaxis()
        ax.tick_params(axis="y", labelcolor=theme.ink)
        ax.grid(visible=False, axis="y")
        ax.grid(visible=True, axis="x", color=theme.grid, linewidth=0.7)
        ax.set_xlabel(f"energy over the whole run ({unit})")
        legend(frame, ax, beside=[name(device, 22) for device in shown])
        return frame


def live(digest: Digest) -> dict[str, Any]:
    """One stacked row for each device, its sum behind it."""
    devices = digest.summary["devices"]
    shown = sorted(devices, key=lambda d: (-devices[d]["energy_j"], d))[:MOST_DEVICES]
    joule, unit = energy_unit(devices[shown[0]]["energy_j"])
    rows = []
    for device in shown:
        total, lost = devices[device]["energy_j"], devices[device]["wasted_j"]
        bits = [[at, *figures([part])] for at, part in enumerate((total - lost, lost))]
        rows.append({"label": name(device, 22), "bits": bits, "note": energy(total)})
    panel = {
        "kind": "rows",
        "stacked": True,
        "divisor": joule,
        "format": "j",
        "notes": True,
        "series": [
            {"label": "went into the model", "colour": "completed"},
            {"label": "wasted", "colour": "phase-lost"},
        ],
        "rows": rows,
    }
    return chart("energy", by(f"energy over the whole run ({unit})"), panel)


CHART = Chart(
    name="energy",
    heading="Energy",
    ready=lambda digest: digest.summary["energy_j"] > 0,
    title=title,
    caption=lambda digest: (
        "What clients drew while they downloaded, trained and uploaded; wasted is what clients drew whose "
        "update never went into the model."
    ),
    draw=draw,
    live=live,
)
