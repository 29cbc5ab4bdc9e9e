"""Where a client's time goes, by device: download, startup, compute, upload, waiting, work that was lost."""

from __future__ import annotations

from typing import Any

from fedsim.report.digest import Digest
from fedsim.report.figures import bars
from fedsim.report.figures.bars import Bars, Part
from fedsim.report.figures.chart import Chart
from fedsim.report.live import by, chart, colours
from fedsim.report.style import Canvas, Theme
from fedsim.report.text import duration, name, share, time_unit

MOST_DEVICES = 14
WORK = ("download", "startup", "compute", "upload")
PHASES = (*WORK, "waiting", "lost")
LABELS = {"lost": "lost work"}


def split(entry: dict[str, Any]) -> dict[str, float]:
    """Seconds of one device's client-rounds by phase, a mean over all dispatched.

    The phases of client-rounds that did not complete are ``lost``.
    """
    done, total = entry["outcomes"]["completed"], entry["client_rounds"]
    if not total:
        return dict.fromkeys(PHASES, 0.0)
    phases = {p: (entry[f"mean_{p}_s"] or 0.0) * done / total for p in WORK}
    work = sum(entry[f"{p}_s"] for p in phases) / total
    return {**phases, "waiting": entry["waiting_s"] / total, "lost": max(0.0, work - sum(phases.values()))}


def table(digest: Digest) -> dict[str, dict[str, float]]:
    """Seconds by phase for each device, the busiest first."""
    rows = {device: split(digest.summary["devices"][device]) for device in digest.devices[:MOST_DEVICES]}
    return dict(sorted(rows.items(), key=lambda row: -(row[1]["compute"] + row[1]["lost"])))


def title(digest: Digest) -> str:
    """The finding: who works longest, who waits most."""
    rows = table(digest)
    slowest = max(rows, key=lambda d: sum(rows[d].values()) - rows[d]["waiting"])
    whole = sum(rows[slowest].values())
    if whole <= 0:
        return "No client spent any time"
    phase = max((*WORK, "lost"), key=lambda p: rows[slowest][p])
    doing = {
        "download": "downloading",
        "startup": "starting up",
        "compute": "training",
        "upload": "uploading",
        "lost": "on work that is lost",
    }[phase]
    said = f"{name(slowest)} spends {duration(rows[slowest][phase])} a round {doing}"
    waits = {d: r["waiting"] / sum(r.values()) for d, r in rows.items() if sum(r.values()) > 0}
    idle = max(waits, key=lambda d: waits[d])
    if idle != slowest and waits[idle] > 0:
        said += f"; {name(idle)} waits {share(waits[idle])} of its time"
    return said


def _bars(digest: Digest) -> Bars:
    rows = table(digest)
    second, unit = time_unit(max(sum(row.values()) for row in rows.values()))
    parts = [
        Part(LABELS.get(phase, phase), f"phase-{phase}", [row[phase] for row in rows.values()])
        for phase in PHASES
        if any(row[phase] for row in rows.values())
    ]
    return Bars(list(rows), parts, [], f"mean time of a client-round ({unit})", second, "s")


def draw(digest: Digest, theme: Theme) -> Canvas:
    """Draw one stacked bar for each device."""
    return bars.draw(_bars(digest), title(digest), theme, colours(theme))


def live(digest: Digest) -> dict[str, Any]:
    """One stacked row for each device."""
    made = _bars(digest)
    return chart("phases", by(made.xlabel), bars.panel(made))


CHART = Chart(
    name="phases",
    heading="Where the time goes",
    ready=lambda digest: any(sum(row.values()) > 0 for row in table(digest).values()),
    title=title,
    caption=lambda digest: (
        "Means over all dispatched client-rounds of a device. Waiting is the time between a delivered "
        "update and the end of its round; lost is what clients did that did not complete."
    ),
    draw=draw,
    live=live,
)
