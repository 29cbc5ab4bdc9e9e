"""Figure 1: what do self-supervision and federation cost in time?

python analysis/fig1.py [--out analysis/pictures]
"""

# %% Setup
from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from fedsim.report.style import LIGHT, plain
from fedsim.reproduce import figure1
from fedsim.reproduce.supervised import crdnn, transformer

FLOPS, PUBLISHED, FEDERATED = "#0072B2", "#E69F00", "#D55E00"


# %% Data: V100 hours on LibriSpeech from FLOPs and as published; days on Common Voice Italian
def data() -> dict[str, list[tuple[str, float, float | None]]]:
    rate = figure1.BASE.training_flops / figure1.BASE.gpu_hours
    hours: list[tuple[str, float, float | None]] = [
        (f"wav2vec 2.0\n{run.size}", run.training_flops / rate, run.gpu_hours)
        for run in (figure1.LARGE, figure1.BASE)
    ]
    names = ("supervised\ntransformer", "supervised\nCRDNN")
    hours += [
        (name, recipe.training_flops / rate, recipe.gpu_hours)
        for name, recipe in zip(names, (transformer(), crdnn()), strict=True)
    ]
    words = {"10 clients": "10 NX\n150 rounds", "100 clients": "100 NX\n500 rounds of 20"}
    days: list[tuple[str, float, float | None]] = []
    for setting, (scenario, epochs) in figure1.SETTINGS.items():
        days.append((f"federated: {words[setting]}", figure1.federated_days(scenario), None))
        alone = figure1.centralised_days(epochs)["one V100"][0]
        days.append((f"centralised: one V100\n{epochs} epochs", alone, None))
    return {"hours": hours, "days": days}


# %% Picture
def draw(found: dict[str, list[tuple[str, float, float | None]]], path: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), dpi=130, layout="constrained")
    hours = {name: (ours, published) for name, ours, published in found["hours"]}
    large, best = hours["wav2vec 2.0\nlarge"], hours["supervised\ntransformer"]
    assert large[1] is not None
    assert best[1] is not None
    federated, one, _, _ = (days for _, days, _ in found["days"])
    figure.suptitle(
        f"Pretraining takes {large[1] / best[1]:.0f} times the GPU hours of the best supervised recipe and "
        f"{large[0] / best[0]:.0f} times its FLOPs;\n"
        f"ten boards in a federation need {federated / one:.1f} times the days of one data-centre GPU",
        fontsize=12.5, fontweight="bold", x=0.01, ha="left",
    )  # fmt: skip
    for ax in (left, right):
        plain(ax, LIGHT)
        ax.grid(visible=False, axis="y")
        ax.grid(visible=True, axis="x", color=LIGHT.grid, linewidth=0.7)
        ax.invert_yaxis()
    for row, (_, ours, published) in enumerate(found["hours"]):
        for at, value, colour in ((row - 0.19, ours, FLOPS), (row + 0.19, published, PUBLISHED)):
            left.barh(at, value, 0.36, color=colour)
            left.text(
                float(value or 0) * 1.06, at, f"{value:,.0f}", va="center", fontsize=8.5, color=LIGHT.ink
            )
    left.set_yticks(range(len(hours)), list(hours))
    left.set(xscale="log", xlim=(10, 30_000), xlabel="V100 hours on LibriSpeech (logarithmic)")
    left.barh([0], [0], color=FLOPS, label="FLOPs at the rate of wav2vec 2.0 base")
    left.barh([0], [0], color=PUBLISHED, label="published")
    left.legend(loc="lower right", frameon=False, fontsize=8.5, labelcolor=LIGHT.ink)
    for row, (name, days, _) in enumerate(found["days"]):
        right.barh(row, days, 0.55, color=FEDERATED if name.startswith("federated") else FLOPS)
        right.text(days + 0.2, row, f"{days:.1f}", va="center", fontsize=8.5, color=LIGHT.ink)
    right.set_yticks(range(len(found["days"])), [name for name, _, _ in found["days"]])
    right.set(xlim=(0, 1.12 * federated), xlabel="days, wav2vec 2.0 base on Common Voice Italian")
    figure.savefig(path)
    plt.close(figure)


# %% Main
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "pictures")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    draw(data(), out / "fig1.png")
    print(out / "fig1.png")
