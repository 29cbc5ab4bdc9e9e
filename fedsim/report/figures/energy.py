"""Energy by device, well spent and wasted."""

from __future__ import annotations

from typing import Any

from fedsim.report.digest import Digest
from fedsim.report.figures import bars
from fedsim.report.figures.bars import Bars, Part
from fedsim.report.figures.chart import Chart
from fedsim.report.live import by, chart, colours
from fedsim.report.style import Canvas, Theme
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


def _bars(digest: Digest) -> Bars:
    devices = digest.summary["devices"]
    shown = sorted(devices, key=lambda d: (-devices[d]["energy_j"], d))[:MOST_DEVICES]
    joule, unit = energy_unit(devices[shown[0]]["energy_j"])
    total = [devices[device]["energy_j"] for device in shown]
    lost = [devices[device]["wasted_j"] for device in shown]
    spent = [a - b for a, b in zip(total, lost, strict=True)]
    parts = [Part("went into the model", "completed", spent), Part("wasted", "phase-lost", lost)]
    notes = [energy(a) + (f", {share(b / a)} wasted" if b else "") for a, b in zip(total, lost, strict=True)]
    return Bars(shown, parts, notes, f"energy over the whole run ({unit})", joule, "j")


def draw(digest: Digest, theme: Theme) -> Canvas:
    """Draw one stacked bar for each device."""
    return bars.draw(_bars(digest), title(digest), theme, colours(theme))


def live(digest: Digest) -> dict[str, Any]:
    """One stacked row for each device, its sum behind it."""
    made = _bars(digest)
    sums = [energy(sum(values)) for values in zip(*(part.values for part in made.parts), strict=True)]
    return chart("energy", by(made.xlabel), bars.panel(made, sums))


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
