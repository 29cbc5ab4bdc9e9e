"""Figure 3: how do memory and compute of a training step grow with the length of a sentence?

python analysis/fig3.py [--out analysis/pictures]
"""

# %% Setup
from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from fedsim.report.style import LIGHT, plain
from fedsim.reproduce.section3_figures import BATCH, footprint_bytes, saved_bytes, training_flops
from fedsim.units import GB, GIB

LENGTHS_S = np.arange(1.0, 20.25, 0.25)
MODELS = {"base": "#0072B2", "large": "#D55E00"}
APPLICATIONS = (
    (1, 3, "keyword\nspotting"),
    (5, 15, "recognition, spoken language\nunderstanding, synthesis"),
    (15, 20, "today's\npretraining"),
)
DEVICES = (
    (8, "8 GB: Raspberry Pi 4, NX, A15", 19.8, "right", "top"),
    (16, "16 GB: AGX Xavier, Tensor,\nSnapdragon 870", 1.2, "left", "bottom"),
)


# %% Data: the whole process on a Jetson board (CUDA, stored attention, Adam), and the paper's account
def data() -> dict[str, dict[str, np.ndarray]]:
    return {
        size: {
            "footprint_gb": footprint_bytes(size, "fp32", LENGTHS_S) / GB,
            "paper_gb": np.array([saved_bytes(size, "cuda", BATCH, s, maps=False) for s in LENGTHS_S]) / GB,
            "tflop": training_flops(size, LENGTHS_S) / 1e12,
        }
        for size in MODELS
    }


# %% Picture
def draw(found: dict[str, dict[str, np.ndarray]], path: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.7), dpi=130, layout="constrained")
    figure.suptitle(
        "Compute grows almost in a straight line with the sentence; memory bends where attention is stored,"
        "\nand no 16 GB device trains the large model at the length of today's pretraining",
        fontsize=12.5, fontweight="bold", x=0.01, ha="left",
    )  # fmt: skip
    for ax, key, unit in ((left, "footprint_gb", "GB"), (right, "tflop", "TFLOP")):
        plain(ax, LIGHT)
        top = 1.22 * max(series[key][-1] for series in found.values())
        for number, (start, end, name) in enumerate(APPLICATIONS):
            ax.axvspan(start, end, color="#f1f3f5" if number % 2 else "#e6eaee", zorder=0, linewidth=0)
            ax.text((start + end) / 2, 0.985 * top, name, ha="center", va="top", fontsize=8, color=LIGHT.soft)
        for size, colour in MODELS.items():
            ax.plot(LENGTHS_S, found[size][key], color=colour, linewidth=2.2, zorder=3)
            ax.text(20.15, found[size][key][-1], size, color=colour, va="center", fontweight="bold")
        ax.set(xlim=(1, 20), ylim=(0, top), xlabel=f"length of each of {BATCH} sentences (s)")
        ax.set_xticks([1, 3, 5, 10, 15, 20])
        ax.set_ylabel({"GB": "memory of the training process (GB)", "TFLOP": "a training step (TFLOP)"}[unit])
    for size, colour in MODELS.items():
        left.plot(LENGTHS_S, found[size]["paper_gb"], color=colour, linewidth=1.4, linestyle=":", zorder=3)
    left.plot([], [], color=LIGHT.soft, linewidth=2.2, label="the whole process at its peak")
    left.plot([], [], color=LIGHT.soft, linewidth=1.4, linestyle=":", label="weights + saved, no n x n maps")
    for gib, name, at_s, side, above in DEVICES:
        level = gib * GIB / GB
        left.axhline(level, color=LIGHT.ink, linewidth=1.0, linestyle="--", zorder=2)
        at_gb = level + (0.3 if above == "bottom" else -0.3)
        left.text(at_s, at_gb, name, ha=side, va=above, fontsize=7.5, color=LIGHT.ink, zorder=4)
    left.legend(
        loc="upper left", bbox_to_anchor=(0.0, 0.87), frameon=False, fontsize=8.5, labelcolor=LIGHT.ink
    )
    figure.savefig(path)
    plt.close(figure)


# %% Main
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "pictures")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    draw(data(), out / "fig3.png")
    print(out / "fig3.png")
