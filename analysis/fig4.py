"""Figure 4: how much memory does mixed precision save?

python analysis/fig4.py [--out analysis/pictures]
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
from fedsim.reproduce.section3_figures import BATCH, footprint_bytes
from fedsim.units import GB

SECONDS = np.array([2.5, 5.5, 8.0, 12.0, 15.0, 20.0])
PRECISIONS = {"fp32": "#0072B2", "mixed": "#E69F00"}
SAID = {"fp32": "fp32", "mixed": "mixed (fp32 and fp16)"}


# %% Data: peak of the training process on a Jetson board
def data() -> dict[str, dict[str, np.ndarray]]:
    return {s: {p: footprint_bytes(s, p, SECONDS) / GB for p in PRECISIONS} for s in ("base", "large")}


# %% Picture
def draw(found: dict[str, dict[str, np.ndarray]], path: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.3), dpi=130, layout="constrained")
    savings = {s: 100 * (1 - memory["mixed"] / memory["fp32"]) for s, memory in found.items()}
    usual = [values[list(SECONDS).index(5.5)] for values in savings.values()]
    most = max(values.max() for values in savings.values())
    figure.suptitle(
        f"Mixed precision saves {min(usual):.0f} to {max(usual):.0f}% of the memory at 5.5 s, and"
        f" {most:.0f}% at 20 s:\nweights, Adam's state, softmax, norms and loss stay in fp32",
        fontsize=12.5, fontweight="bold", x=0.01, ha="left",
    )  # fmt: skip
    at = np.arange(len(SECONDS))
    for ax, (size, memory) in zip(axes, found.items(), strict=True):
        plain(ax, LIGHT)
        for offset, (precision, colour) in zip((-0.2, 0.2), PRECISIONS.items(), strict=True):
            ax.bar(at + offset, memory[precision], width=0.38, color=colour, label=SAID[precision], zorder=2)
        for x, top, saved in zip(at, memory["fp32"], savings[size], strict=True):
            ax.text(x, max(top, 0) * 1.02 + 0.3, f"{-saved:+.0f}%", ha="center", fontsize=9, color=LIGHT.ink)
        ax.set_xticks(at, [f"{s:g}" for s in SECONDS])
        ax.set_title(f"wav2vec 2.0 {size}", fontsize=10, loc="left")
        ax.set_xlabel(f"length of each of {BATCH} sentences (s)")
        ax.set_ylabel("memory of the training process (GB)")
        ax.set_ylim(0, 1.12 * memory["fp32"].max())
    axes[0].legend(loc="upper left", frameon=False, fontsize=9, labelcolor=LIGHT.ink)
    figure.savefig(path)
    plt.close(figure)


# %% Main
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "pictures")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    draw(data(), out / "fig4.png")
    print(out / "fig4.png")
