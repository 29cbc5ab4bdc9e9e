"""The back-test: what the devices of 2022 were predicted to become, and what was really sold since.

python analysis/back_test.py [--out analysis/pictures] draws it; analysis/are_we_there_yet.py writes the page.
"""

# %% Setup
from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from fedsim.hardware import Device, Trend, load_device, load_trend, project
from fedsim.pricing import LayerTrace, Pricer, Technique, load_trace
from fedsim.report.style import LIGHT, plain
from fedsim.units import GIB

SAMPLES_PER_S, BATCH, SECONDS = 16_000, 4, 5.5
A40 = load_device("nvidia-a40")
TRENDS = {"gao2022": "#D55E00", "epoch": "#0072B2"}


@dataclass(frozen=True)
class Line:
    """A class of devices: the one that the paper starts from, and those sold before and since."""

    title: str
    start: str
    sold: tuple[str, ...]


LINES = (
    Line(
        "small Jetson boards",
        "jetson-xavier-nx",
        ("jetson-xavier-nx", "jetson-orin-nano", "jetson-orin-nx", "jetson-orin-nano-super"),
    ),
    Line(
        "large Jetson boards",
        "jetson-agx-xavier-32gb",
        ("jetson-agx-xavier-32gb", "jetson-agx-orin-32gb", "jetson-agx-orin-64gb", "jetson-thor"),
    ),
    Line("Raspberry Pi", "raspberry-pi-4", ("raspberry-pi-4", "raspberry-pi-5")),
    Line(
        "phones",
        "snapdragon-870",
        (
            "snapdragon-870",
            *("snapdragon-8-gen-1", "snapdragon-8-gen-2", "snapdragon-8-gen-3", "snapdragon-8-elite"),
            *("google-tensor", "google-tensor-g2", "google-tensor-g3", "google-tensor-g4"),
            *("a15-bionic", "a16-bionic", "a17-pro", "a18-pro", "dimensity-9000", "dimensity-9300"),
            *("exynos-2200", "exynos-2400"),
        ),
    ),
)


@cache
def trace(size: str) -> LayerTrace:
    return load_trace(f"wav2vec2-{size}")


@cache
def step_s(device: Device) -> float:
    """Seconds of a step of base in fp32, 4 x 5.5 s."""
    return float(Pricer(device, trace("base"), Technique()).step_s(BATCH, round(SECONDS * SAMPLES_PER_S)))


def speed(device: Device) -> float:
    """As a share of the A40's."""
    return step_s(A40) / step_s(device)


# %% Back-test: what the class of 2022 was predicted to be, and what was sold
@dataclass(frozen=True)
class Sold:
    """A device really sold, over its class's prediction for that year."""

    device: Device
    line: Line
    speed_over: dict[str, float]
    memory_over: dict[str, float]


def predicted(line: Line, trend: Trend, year: int) -> Device:
    """The device of the paper's class in a year; as sold before the trend begins."""
    start = load_device(line.start)
    first = trend.start(start.released)
    return project(start, max(year, first), trend)


def back_test() -> list[Sold]:
    found = []
    for line in LINES:
        for device in map(load_device, line.sold):
            if device.name == line.start or device.released <= load_device(line.start).released:
                continue
            expected = {name: predicted(line, load_trend(name), device.released) for name in TRENDS}
            found.append(
                Sold(
                    device,
                    line,
                    {name: speed(device) / speed(e) for name, e in expected.items()},
                    {name: device.memory_bytes / e.memory_bytes for name, e in expected.items()},
                )
            )
    return found


def doubling_years(line: Line, what: str) -> float:
    """Years to double from the paper's device to the best of its class; infinite if none is better."""
    start = load_device(line.start)
    value = speed if what == "speed" else lambda d: d.memory_bytes
    best = max(map(load_device, line.sold), key=lambda d: (value(d), -d.released))
    gain = value(best) / value(start)
    return (best.released - start.released) / math.log2(gain) if gain > 1 else math.inf


def draw_back_test(path: Path) -> None:
    figure, axes = plt.subplots(
        2, len(LINES), figsize=(13.5, 7.2), dpi=110, sharex=True, sharey="row", layout="constrained"
    )
    best = max(map(load_device, LINES[0].sold), key=speed)
    figure.suptitle(
        "By the paper's trend small boards would train as fast as an A40 and have its memory in 2026 to 2027;"
        f"\nthe fastest one sold, of {best.released}, is at {speed(best):.0%} of its speed",
        fontsize=13, fontweight="bold", x=0.01, ha="left",
    )  # fmt: skip
    years = np.arange(2020, 2032)
    rows = (
        (axes[0], speed, "speed of training, A40 = 1", 1.0, "A40"),
        (axes[1], lambda d: d.memory_bytes / GIB, "memory (GiB)", 48.0, "A40: 48 GiB"),
    )
    for row, value, label, level, name in rows:
        row[0].set_ylabel(label)
        for ax, line in zip(row, LINES, strict=True):
            plain(ax, LIGHT)
            ax.set_yscale("log")
            ax.axhline(level, color=LIGHT.ink, linewidth=1.0, linestyle="--")
            ax.text(2019.65, level * 1.06, name, ha="left", va="bottom", fontsize=8, color=LIGHT.ink)
            for trend_name, colour in TRENDS.items():
                trend = load_trend(trend_name)
                first = trend.start(load_device(line.start).released)
                shown = [y for y in years if y >= first]
                ax.plot(
                    shown, [value(predicted(line, trend, int(y))) for y in shown], color=colour, linewidth=2
                )
            for device in map(load_device, line.sold):
                ax.plot(device.released, value(device), "o", color=LIGHT.ink, markersize=5, zorder=4)
            _name_points(ax, line, value)
            ax.set_xlim(2019.5, 2031.5)
    for ax, line in zip(axes[0], LINES, strict=True):
        ax.set_title(line.title, fontsize=11, color=LIGHT.ink, loc="left")
    axes[1][0].set_yticks([4, 8, 16, 32, 64, 128, 256], ["4", "8", "16", "32", "64", "128", "256"])
    axes[0][0].set_yticks(
        [0.003, 0.01, 0.03, 0.1, 0.3, 1, 3], ["0.003", "0.01", "0.03", "0.1", "0.3", "1", "3"]
    )
    for ax in axes.flat:
        ax.minorticks_off()
        ax.set_xticks([2020, 2022, 2024, 2026, 2028, 2030])
    axes[0][0].set_ylim(0.003, 12)
    axes[1][0].set_ylim(3.5, 420)
    for trend_name, colour in TRENDS.items():
        axes[0][0].plot([], [], color=colour, linewidth=2, label=f"predicted: {trend_name}")
    axes[0][0].plot([], [], "o", color=LIGHT.ink, markersize=5, label="really sold")
    axes[0][0].legend(loc="lower right", frameon=False, fontsize=8.5, labelcolor=LIGHT.ink)
    figure.savefig(path)
    plt.close(figure)


_SHOWN = {
    "jetson-xavier-nx": "Xavier NX",
    "jetson-orin-nx": "Orin NX",
    "jetson-orin-nano": "Orin Nano",
    "jetson-orin-nano-super": "Orin Nano Super",
    "jetson-agx-xavier-32gb": "AGX Xavier",
    "jetson-agx-orin-64gb": "AGX Orin",
    "jetson-thor": "Thor",
    "raspberry-pi-4": "Pi 4",
    "raspberry-pi-5": "Pi 5",
    "snapdragon-870": "Snapdragon 870",
    "snapdragon-8-elite": "8 Elite",
    "a18-pro": "A18 Pro",
}


_PLACED = {
    "Orin NX": ("right", -0.22, 1.12),
    "Orin Nano": ("left", 0.2, 0.78),
    "Orin Nano Super": ("left", 0.25, 1.0),
    "AGX Orin": ("right", -0.22, 1.12),
    "Pi 5": ("right", -0.22, 1.12),
    "8 Elite": ("left", 0.25, 0.95),
}
"""Side, years and factor by which a name stands off its point; others stand below right."""


def _name_points(ax: Axes, line: Line, value: Callable[[Device], float]) -> None:
    for name in line.sold:
        if name in _SHOWN:
            device = load_device(name)
            side, right, factor = _PLACED.get(_SHOWN[name], ("left", 0.2, 0.88))
            at = (device.released + right, value(device) * factor)
            ax.annotate(_SHOWN[name], at, ha=side, va="center", fontsize=7.5, color=LIGHT.ink)


# %% Main
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "pictures")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    draw_back_test(out / "are-we-there-yet.png")
    print(out / "are-we-there-yet.png")
