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
from fedsim.reproduce.section3_figures import SAMPLES_PER_S, stages, trace_of
from fedsim.units import GB

SMALL, LARGE = (4, 5.5), (8, 12.0)
COLOURS = {"CNN": "#0072B2", "projection": "#56B4E9", "position": "#CC79A7", "transformer": "#009E73"}
OTHER, YELLOW, RED = "#8c96a0", "#E69F00", "#D55E00"


def colour(name: str) -> str:
    return COLOURS.get(name.split()[0], OTHER)


# %% Data: every layer at 5.5 s x 4 and at 12 s x 8, on the CPU path, up to the model's outputs
def data() -> dict[str, np.ndarray]:
    trace = trace_of("base")
    small, large = (stages(trace, "cpu", *setting)[:-1] for setting in (SMALL, LARGE))
    found = {"names": np.array([stage.name for stage in small])}
    for key, several, (batch, seconds) in (("small", small, SMALL), ("large", large, LARGE)):
        axes = [int(n) for n in trace.lengths(round(seconds * SAMPLES_PER_S))]
        weights = (4 * trace.parameters + float(trace.input_bytes(batch, axes))) / GB
        found[f"{key}_gb"] = np.array([stage.saved_bytes for stage in several]) / GB
        found[f"{key}_total_gb"] = weights + np.cumsum(found[f"{key}_gb"])
        found[f"{key}_gflop"] = np.array([stage.training_flops for stage in several]) / 1e9
    return found


# %% Picture
def draw(found: dict[str, np.ndarray], path: Path) -> None:
    names, at = list(found["names"]), np.arange(len(found["names"]))
    colours = [colour(name) for name in names]
    share = found["small_gb"][:7].sum() / found["small_gb"].sum()
    flops = found["small_gflop"][:7].sum() / found["small_gflop"].sum()
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.9), dpi=130, layout="constrained")
    figure.suptitle(
        f"The seven convolutions hold {100 * share:.0f}% of what a step stores and do {100 * flops:.0f}%"
        " of its arithmetic;\nall that is stored is alive at once when the forward pass ends",
        fontsize=12.5, fontweight="bold", x=0.01, ha="left",
    )  # fmt: skip
    for ax in (left, right):
        plain(ax, LIGHT)
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.set_xticks(at, names, rotation=90)
        ax.set_xlim(-0.7, len(at) - 0.3)
    left.bar(at, found["small_gb"], color=colours, width=0.75, zorder=2)
    left.bar([0], [0], color=COLOURS["transformer"], label="a layer, 5.5 s x 4")
    left.plot(
        at, found["small_total_gb"], color=LIGHT.ink, linewidth=1.8, zorder=4, label="adding up, 5.5 s x 4"
    )
    left.plot(at, found["large_gb"], color=YELLOW, linewidth=1.8, zorder=3, label="a layer, 12 s x 8")
    left.plot(
        at, found["large_total_gb"], color=YELLOW, linewidth=1.8, linestyle="--", zorder=3,
        label="adding up, 12 s x 8",
    )  # fmt: skip
    for key, paper in (("small", 2.54), ("large", 9.89)):
        peak = found[f"{key}_total_gb"][-1]
        left.plot(at[-1], peak, "x", color=RED, markersize=10, markeredgewidth=3, zorder=5)
        said = f"{peak:.2f} GB (the paper: {paper})"
        left.text(at[-1] + 0.3, peak * 1.5, said, color=RED, ha="right", fontweight="bold", fontsize=9)
    left.set_ylim(1e-3, 120)
    left.set_ylabel("saved for the backward pass (GB)")
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
