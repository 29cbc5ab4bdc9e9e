"""Which technique brings the practical year forward most?

    python analysis/levers.py [--out analysis] [--workers 2]

Runs scenarios/sweeps/levers.yaml for two fleets: the mixed one of the file with wav2vec 2.0 base, where
time binds, and one of Jetson Xavier NX with wav2vec 2.0 large, where memory does. A year is practical
if 150 rounds take at most 7 days and at least nine of ten client-rounds complete, in it and in every
later year of the sweep. The moment at which time is short enough is interpolated between years, on
logarithms of days; memory suffices from a whole year on. The first run takes several minutes of
processor time; later ones find their points in the cache.
"""

# %% Setup
from __future__ import annotations

import argparse
import csv
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pyarrow.parquet as pq
from matplotlib.axes import Axes

from fedsim.report.style import LIGHT, plain
from fedsim.scenario import sweep as sweeps
from fedsim.sweeps import start
from fedsim.sweeps.processes import Processes
from fedsim.sweeps.progress import choose
from fedsim.sweeps.store import Store
from fedsim.units import DAY_S

DAYS, LENIENT_DAYS, SHARE = 7.0, 14.0, 0.9
FLEETS = {
    "boards, laptops and phones; base": [],
    "Jetson Xavier NX only; large": [
        "fleet.mix=[{device: jetson-xavier-nx, share: 1.0, link: wifi, speed_spread: 0.1}]",
        "training.model=wav2vec2-large",
    ],
}
TRENDS = {"gao2022": ("o", "#D55E00"), "epoch": ("s", "#0072B2")}
PLAIN, ALL = "plain", "all of them"
TWELVE_LAYERS, OTHERS = "a layer at a time", "Jetson Xavier NX only; large"
"""A schedule for the layers of base, which is left out where the model has others."""
Point = Mapping[str, Any]


# %% From points of a sweep to the practical year
def lasting(years: Sequence[int], holds: Sequence[bool]) -> float:
    """The first year from which on it holds in every year; infinite if not in the last one."""
    failed = [number for number, good in enumerate(holds) if not good]
    after = failed[-1] + 1 if failed else 0
    return math.inf if after == len(years) else float(years[after])


def crossing(years: Sequence[int], slack: Sequence[float]) -> float:
    """From when on the slack is never negative, on a straight line from the year before."""
    year = lasting(years, [value >= 0 for value in slack])
    if math.isinf(year) or year == years[0]:
        return year
    number = years.index(int(year))
    low, high = slack[number - 1], slack[number]
    return years[number - 1] + (years[number] - years[number - 1]) * low / (low - high)


def moments(points: Sequence[Point], days: float = DAYS) -> dict[str, float]:
    """When the rounds take at most so many days (``time``), and when clients have the memory (``memory``).

    Memory is had by all or by none of a kind of device, so its moment is a whole year. In these fleets
    hardly a client-round fails for anything else: at its end an asynchronous run gives up what is still
    under way. Where nobody fits there may be no client-round at all.
    """
    years = [int(point["hardware.year"]) for point in points]
    spare = [math.log(days * DAY_S / max(point["end_s"], 1.0)) for point in points]
    enough = [0 < SHARE * point["client_rounds"] <= point["outcomes.completed"] for point in points]
    return {"time": crossing(years, spare), "memory": lasting(years, enough)}


def forward(before: float, after: float) -> float:
    """Years that a technique brings the moment forward; NaN if it is not reached without it."""
    return before - after if math.isfinite(before) else math.nan


def rank(cases: Mapping[str, Sequence[Point]]) -> list[dict[str, Any]]:
    """A row for each technique of one fleet and trend; equal ones stay in the order of the sweep."""
    found = {case: moments(points) for case, points in cases.items()}
    lenient = {case: max(moments(points, LENIENT_DAYS).values()) for case, points in cases.items()}
    first = min(int(point["hardware.year"]) for point in cases[PLAIN])
    rows = []
    for case, when in found.items():
        practical = max(when.values())
        rows.append(
            {
                "technique": case,
                "practical_year": math.ceil(practical) if math.isfinite(practical) else "later",
                "years_forward": round(forward(max(found[PLAIN].values()), practical), 2) + 0.0,
                "binds": "nothing" if practical <= first else max(when, key=lambda name: when[name]),
                "practical_moment": round(practical, 2),
                "time_moment": round(when["time"], 2),
                "memory_moment": round(when["memory"], 2),
                "years_forward_if_14_days": round(forward(lenient[PLAIN], lenient[case]), 2) + 0.0,
            }
        )
    return sorted(rows, key=lambda row: row["practical_moment"])


def order(rows: Sequence[Mapping[str, Any]], fleet: str) -> list[str]:
    """The techniques of a fleet, the earliest over all trends together first."""
    total: dict[str, float] = {}
    for row in rows:
        if row["fleet"] == fleet:
            total[row["technique"]] = total.get(row["technique"], 0.0) + row["practical_moment"]
    return sorted(total, key=lambda technique: total[technique])


def best(rows: Sequence[Mapping[str, Any]], fleet: str) -> str:
    """The single technique that brings a fleet forward most."""
    return next(technique for technique in order(rows, fleet) if technique != ALL)


# %% Data
def points_of(overrides: Sequence[str], workers: int) -> list[Point]:
    sweep = sweeps.load("levers", overrides)
    with tempfile.TemporaryDirectory(prefix="fedsim-levers-") as place:
        start(sweep, Path(place) / "sweep", lambda: Processes(workers), store=Store(), progress=choose())
        points: list[Point] = pq.read_table(Path(place) / "sweep" / "sweep.parquet").to_pylist()
    for point in points:
        assert point["status"] == "done", point["message"]
    return points


def data(workers: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for fleet, overrides in FLEETS.items():
        points = points_of(overrides, workers)
        for trend in TRENDS:
            cases: dict[str, list[Point]] = {}
            for point in points:
                if point["hardware.trend"] == trend and (fleet, point["case"]) != (OTHERS, TWELVE_LAYERS):
                    cases.setdefault(point["case"], []).append(point)
            rows += [{"fleet": fleet, "trend": trend, **row} for row in rank(cases)]
    return rows


def write(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def read(path: Path) -> list[dict[str, Any]]:
    """The table as :func:`write` left it, numbers as numbers."""
    with path.open(newline="", encoding="utf-8") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    numbers = [name for name in rows[0] if name.endswith("_moment") or name.startswith("years_forward")]
    return [{**row, **{name: float(row[name]) for name in numbers}} for row in rows]


# %% The tables of are-we-there-yet.md
def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table for each fleet: the first practical year, years brought forward, and what binds."""
    lines = []
    for fleet in FLEETS:
        mine = {(row["technique"], row["trend"]): row for row in rows if row["fleet"] == fleet}
        lines += [f"**{fleet}**", ""]
        lines.append(
            "| technique | " + " | ".join(f"year, {trend} | gain | binds" for trend in TRENDS) + " |"
        )
        lines.append("| --- " * (1 + 3 * len(TRENDS)) + "|")
        for technique in order(rows, fleet):
            cells = [technique]
            for trend in TRENDS:
                row = mine[technique, trend]
                gain = "" if technique == PLAIN else _gain(row)
                cells += [str(row["practical_year"]), gain, row["binds"]]
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines[:-1])


# %% Picture
def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    figure, axes = plt.subplots(2, 1, figsize=(8.6, 8.2), dpi=110, layout="constrained", sharex=True)
    figure.suptitle(title(rows), fontsize=11.5, fontweight="bold", x=0.01, ha="left")
    for ax, fleet in zip(axes, FLEETS, strict=True):
        _panel(ax, fleet, [row for row in rows if row["fleet"] == fleet])
    axes[0].legend(loc="lower left", frameon=False, fontsize=8.5, labelcolor=LIGHT.ink)
    axes[-1].set_xlabel(
        f"when 150 rounds take at most {DAYS:g} days and nine of ten client-rounds complete\n"
        "(dotted: plain; beside a point: years brought forward; m: memory binds, t: time)"
    )
    figure.savefig(path)
    plt.close(figure)


def _panel(ax: Axes, fleet: str, rows: Sequence[Mapping[str, Any]]) -> None:
    plain(ax, LIGHT)
    ax.grid(visible=True, axis="x", color=LIGHT.grid, linewidth=0.7)
    techniques = order(rows, fleet)[::-1]
    finite = [row["practical_moment"] for row in rows if math.isfinite(row["practical_moment"])]
    edge = max(finite) + 1.0  # where what comes later than the sweep is put
    for (trend, (marker, colour)), lift in zip(TRENDS.items(), (0.17, -0.17), strict=True):
        mine = {row["technique"]: row for row in rows if row["trend"] == trend}
        start_at = min(mine[PLAIN]["practical_moment"], edge)
        ax.axvline(start_at, color=colour, lw=1.2, ls=":")
        for at, technique in zip(np.arange(len(techniques)) + lift, techniques, strict=True):
            row = mine[technique]
            year = min(row["practical_moment"], edge)
            ax.plot([year, start_at], [at, at], color=colour, lw=2.2, alpha=0.4)
            ax.plot(year, at, marker if math.isfinite(row["practical_moment"]) else ">", color=colour, ms=5.5)
            side, ha = (-0.12, "right") if year <= start_at else (0.12, "left")
            ax.text(
                year + side,
                at,
                f"{_gain(row)} {_letter(row)}",
                fontsize=7,
                ha=ha,
                va="center",
                color=LIGHT.soft,
            )
        ax.plot([], [], marker, color=colour, ms=5.5, ls="none", label=f"if hardware grows by {trend}")
    ax.set_yticks(np.arange(len(techniques)), techniques)
    ax.margins(x=0.12)
    ax.set_title(fleet, fontsize=10, loc="left", color=LIGHT.ink)


def _gain(row: Mapping[str, Any]) -> str:
    years = row["years_forward"]
    if math.isnan(years) or row["technique"] == PLAIN:
        return ""
    if math.isinf(years):
        return "later"
    return f"{years:+.1f}" if abs(years) >= 0.05 else "0"


def _letter(row: Mapping[str, Any]) -> str:
    return {"time": "t", "memory": "m"}.get(row["binds"], "")


def title(rows: Sequence[Mapping[str, Any]]) -> str:
    """The best single technique of each fleet."""
    said = []
    for fleet in FLEETS:
        name = best(rows, fleet)
        mine = {r["trend"]: _gain(r) for r in rows if r["fleet"] == fleet and r["technique"] == name}
        said.append(f"{fleet}: {name} ({' to '.join(mine[trend] for trend in TRENDS)} years)")
    return "What brings the practical year forward most\n" + "\n".join(said)


# %% Main
if __name__ == "__main__":  # workers are spawned
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    for folder in ("pictures", "results"):
        (given.out / folder).mkdir(parents=True, exist_ok=True)
    table = data(given.workers)
    write(table, given.out / "results" / "levers.csv")
    draw(table, given.out / "pictures" / "levers.png")
    print(given.out / "pictures" / "levers.png")
