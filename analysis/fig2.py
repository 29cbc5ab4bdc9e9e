"""Figure 2: which layers of wav2vec 2.0 base need memory and compute in a training step?

python analysis/fig2.py [--out analysis/pictures]
"""

# %% Setup
from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import FuncFormatter

from fedsim.report.style import LIGHT, plain
from fedsim.reproduce.section3_figures import stages, trace_of
from fedsim.units import GIB

SMALL, LARGE = (4, 5.5), (8, 12.0)
COLOURS = {"CNN": "#0072B2", "projection": "#56B4E9", "position": "#CC79A7", "transformer": "#009E73"}
OTHER, YELLOW, RED = "#8c96a0", "#E69F00", "#D55E00"


def colour(name: str) -> str:
    return COLOURS.get(name.split()[0], OTHER)


# %% Data: every layer at 5.5 s x 4 and at 12 s x 8, by the account that meets the paper's two peaks
def data() -> dict[str, np.ndarray]:
    trace = trace_of("base")
    found: dict[str, np.ndarray] = {}
    for key, (batch, seconds) in (("small", SMALL), ("large", LARGE)):
        several = stages(trace, "cpu", batch, seconds)[:-1]  # the loss is no module
        found["names"] = np.array([stage.name for stage in several])
        found[f"{key}_gib"] = np.array([2 * stage.output_bytes for stage in several]) / GIB
        found[f"{key}_total_gib"] = 4 * trace.parameters / GIB + np.cumsum(found[f"{key}_gib"])
        found[f"{key}_gflop"] = np.array([stage.training_flops for stage in several]) / 1e9
    return found


# %% Picture
def draw(found: dict[str, np.ndarray], path: Path) -> None:
    names, at = list(found["names"]), np.arange(len(found["names"]))
    colours = [colour(name) for name in names]
    share = found["small_gib"][:7].sum() / found["small_gib"].sum()
    flops = found["small_gflop"][:7].sum() / found["small_gflop"].sum()
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.9), dpi=130, layout="constrained")
    figure.suptitle(
        f"The seven convolutions hold {100 * share:.0f}% of the activations and do {100 * flops:.0f}%"
        " of the arithmetic;\nmemory adds up over the layers and peaks when the forward pass ends",
        fontsize=12.5, fontweight="bold", x=0.01, ha="left",
    )  # fmt: skip
    for ax in (left, right):
        plain(ax, LIGHT)
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.set_xticks(at, names, rotation=90)
        ax.set_xlim(-0.7, len(at) - 0.3)
    left.bar(at, found["small_gib"], color=colours, width=0.75, zorder=2)
    left.bar([0], [0], color=COLOURS["transformer"], label="a layer, 5.5 s x 4")
    left.plot(
        at, found["small_total_gib"], color=LIGHT.ink, linewidth=1.8, zorder=4, label="adding up, 5.5 s x 4"
    )
    left.plot(at, found["large_gib"], color=YELLOW, linewidth=1.8, zorder=3, label="a layer, 12 s x 8")
    left.plot(
        at, found["large_total_gib"], color=YELLOW, linewidth=1.8, linestyle="--", zorder=3,
        label="adding up, 12 s x 8",
    )  # fmt: skip
    for key, paper in (("small", 2.54), ("large", 9.89)):
        peak = found[f"{key}_total_gib"][-1]
        left.plot(at[-1], peak, "x", color=RED, markersize=10, markeredgewidth=3, zorder=5)
        said = f"{peak:.2f} GiB (the paper: {paper})"
        left.text(at[-1] + 0.3, peak * 1.5, said, color=RED, ha="right", fontweight="bold", fontsize=9)
    left.set_ylim(1e-3, 120)
    left.set_ylabel("module outputs and their gradients (GiB)")
    left.set_title("memory, layer by layer; lines that add up start at the weights", fontsize=10, loc="left")
    left.legend(loc="upper left", frameon=False, fontsize=8.5, ncols=2, labelcolor=LIGHT.ink)
    right.bar(at, found["large_gflop"], color=YELLOW, width=0.9, alpha=0.45, zorder=1, label="12 s x 8")
    right.bar(at, found["small_gflop"], color=colours, width=0.62, zorder=2, label="_")
    for kind, said in (("CNN", "CNN encoder, 5.5 s x 4"), ("transformer", "transformer, 5.5 s x 4")):
        right.bar([0], [0], color=COLOURS[kind], label=said)
    right.set_ylabel("forward and backward (GFLOP)")
    right.set_ylim(1, 2500)
    right.set_title("compute, layer by layer", fontsize=10, loc="left")
    right.legend(loc="upper right", frameon=False, fontsize=8.5, labelcolor=LIGHT.ink)
    figure.savefig(path)
    plt.close(figure)


# %% Main
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "pictures")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    draw(data(), out / "fig2.png")
    print(out / "fig2.png")
