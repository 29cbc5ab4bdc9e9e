"""Figure 5: does federated pretraining lower the word error rate, and what matters for it?

python analysis/fig5.py [--runs runs/fig5] [--seeds 3] [--workers 2] [--only-draw] [--out analysis]

Each point is a run of analysis/fig5.yaml with other settings and has a run directory of its own: one that
is finished is not run again, and one that was interrupted goes on. The table and the picture are made of
what is finished. All points take HOURS of one core; with two workers a little more than half of that.
"""

# %% Setup
from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jiwer
import matplotlib as mpl
import numpy as np
import pandas as pd

mpl.use("Agg")
import matplotlib.pyplot as plt

from fedsim import results, scenario, yamlfile
from fedsim.errors import RunError
from fedsim.report.style import LIGHT, plain

HERE = Path(__file__).resolve().parent
SCENARIO = HERE / "fig5.yaml"
HOUR_S, DAY_S = 3600.0, 86400.0
DRAWS = 4000  # of the bootstrap
TEN = ("rounds.count=40", "learning.local_steps=4", "learning.warmup_rounds=5")
HUNDRED = (  # less speech a client, so fewer steps a round; more rounds
    "rounds.count=70", "learning.local_steps=2", "learning.warmup_rounds=10", "learning.evaluate_every=10",
    "fleet.clients=100", "rounds.cohort=20", "workload.utterances=1950", "learning.parts=100",
)  # fmt: skip
ALONE = (*TEN, "learning.learning_rate=1.5e-3")  # steps of 2 utterances are noisier than those of 10 clients


# %% Points
@dataclass(frozen=True)
class Kind:
    """One bar of the picture: what is set, and what it is called."""

    name: str
    label: str
    colour: str
    settings: tuple[str, ...]
    qualities: tuple[str, ...] = ("clean", "low")


KINDS = (
    Kind("none", "no pretraining", "#999999", ("learning.yardstick=no-pretraining",), ("clean",)),
    Kind("fl10-fedavg", "10 clients, FedAvg", "#56B4E9", (*TEN, "rounds.aggregate=fedavg")),
    Kind("fl10-loss", "10 clients, loss-weighted", "#0072B2", (*TEN, "rounds.aggregate=loss-weighted")),
    Kind("fl100-fedavg", "100 clients, FedAvg", "#E69F00", (*HUNDRED, "rounds.aggregate=fedavg")),
    Kind("fl100-loss", "100 clients, loss-weighted", "#D55E00", (*HUNDRED, "rounds.aggregate=loss-weighted")),
    Kind("centralised", "centralised", "#009E73", (*ALONE, "learning.yardstick=centralised")),
    Kind(
        "local", "one client alone", "#CC79A7",
        (*ALONE, "learning.yardstick=local-only", "learning.alone=0"), ("clean",),
    ),
)  # fmt: skip
BY_NAME = {kind.name: kind for kind in KINDS}
QUALITIES = {"clean": 0.0, "low": 0.3}
SAID = {"clean": "all clients record well", "low": "30% of the clients record badly"}
CLOCKS = {f"{size}-a40": (*settings, "fleet.mix.0.device=nvidia-a40")
          for size, settings in (("fl10", TEN), ("fl100", HUNDRED))}  # fmt: skip


def points(seeds: int) -> list[tuple[str, tuple[str, ...]]]:
    """(name, settings) of every run; a whole seed before the next."""
    return [
        (
            f"{kind.name}-{quality}-{seed}",
            (*kind.settings, f"learning.low_quality={QUALITIES[quality]}", f"seed={seed}"),
        )
        for seed in range(seeds)
        for quality in QUALITIES
        for kind in KINDS
        if quality in kind.qualities
    ]


# %% Running
def inside(old: Any, new: Any) -> bool:
    """Whether every key of ``old`` has the same value in ``new``, which may have more keys."""
    if isinstance(old, dict):
        return isinstance(new, dict) and all(key in new and inside(old[key], new[key]) for key in old)
    return bool(old == new)


def command(folder: Path, settings: tuple[str, ...]) -> list[str] | None:
    """What runs a point, or goes on with it; None if it is finished.

    Raises:
        RunError: if the folder holds a run with other settings.
    """
    fedsim = [sys.executable, "-m", "fedsim", "run", "--workers", "1", "--no-report", "--quiet"]
    if not (folder / "scenario.yaml").is_file():
        sets = [word for setting in settings for word in ("--set", setting)]
        return [*fedsim, str(SCENARIO), *sets, "--out", str(folder)]
    wanted = scenario.dump(scenario.load(SCENARIO, settings).scenario)
    work = folder / ".wanted.yaml"
    work.write_text(wanted)
    same = inside(yamlfile.load(folder / "scenario.yaml", RunError), yamlfile.load(work, RunError))
    work.unlink()
    if not same:
        raise RunError("holds a run with other settings; take another folder with --runs", file=folder)
    return None if (folder / "summary.json").is_file() else [*fedsim, "--resume", str(folder)]


def run_point(runs: Path, name: str, settings: tuple[str, ...]) -> str:
    """Run one point in a process of its own; says how it went."""
    todo = command(runs / name, settings)
    if todo is None:
        return "was there"
    began = time.monotonic()
    done = subprocess.run(todo, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    if done.returncode:
        return f"failed: {done.stderr.strip().splitlines()[-1:]}"
    return f"{time.monotonic() - began:.0f} s"


def run_all(runs: Path, seeds: int, workers: int) -> None:
    """Run every point that is not finished, and the two clocks."""
    todo = points(seeds)
    began = time.monotonic()
    with ThreadPoolExecutor(workers) as pool:
        waiting = [(name, pool.submit(run_point, runs, name, settings)) for name, settings in todo]
        for number, (name, future) in enumerate(waiting, 1):
            minutes = (time.monotonic() - began) / 60
            print(f"{number:3}/{len(todo)}  {name:24} {future.result()}  ({minutes:.0f} min)", flush=True)


# %% Reading
def finished(runs: Path, name: str) -> Path | None:
    return runs / name if (runs / name / "summary.json").is_file() else None


def errors_of(folder: Path) -> pd.DataFrame:
    """A row a test utterance: speaker, said, words, errors (substituted, left out and put in), cer's both."""
    (file,) = sorted((folder / "checkpoints").glob("recognised-*.json"))[-1:]
    rows = []
    for speaker, said, heard in json.loads(file.read_text(encoding="utf-8")):
        w, c = jiwer.process_words(said, heard), jiwer.process_characters(said, heard)
        rows.append((speaker, said, w.substitutions + w.deletions + w.insertions, len(said.split()),
                     c.substitutions + c.deletions + c.insertions, len(said)))  # fmt: skip
    return pd.DataFrame(rows, columns=["speaker", "said", "errors", "words", "cer_errors", "characters"])


def read(runs: Path, seeds: int) -> tuple[dict[str, list[pd.DataFrame]], dict[str, list[pd.DataFrame]]]:
    """By ``kind-quality``, for the seeds that are finished for every one: errors, and convergence."""
    names = {f"{kind.name}-{quality}" for kind in KINDS for quality in kind.qualities}
    whole = [s for s in range(seeds) if all(finished(runs, f"{name}-{s}") for name in names)]
    if not whole:
        raise RunError("no seed is finished at every point", file=runs)
    errors = {name: [errors_of(runs / f"{name}-{s}") for s in whole] for name in sorted(names)}
    curves = {name: [results.load(runs / f"{name}-{s}").convergence for s in whole] for name in sorted(names)}
    return errors, curves


# %% Word error rates and their intervals
def draws(errors: dict[str, list[pd.DataFrame]]) -> dict[str, np.ndarray]:
    """Bootstrapped WER of each kind, float64[DRAWS], all on the same draws, hence paired.

    Seeds and test speakers are drawn with replacement, and then each speaker's utterances.
    """
    first = next(iter(errors.values()))[0]
    for frames in errors.values():
        assert all(frame["said"].equals(first["said"]) for frame in frames), "not the same test speech"
    table = {name: np.array([f["errors"] for f in frames], float) for name, frames in errors.items()}
    words = first["words"].to_numpy(float)
    members = [np.flatnonzero(first["speaker"] == who) for who in sorted(set(first["speaker"]))]
    generator = np.random.default_rng(5)
    seeds = len(next(iter(table.values())))
    found = {name: np.empty(DRAWS) for name in table}
    for draw in range(DRAWS):
        speakers = generator.integers(len(members), size=len(members))
        chosen = np.concatenate([generator.choice(members[s], len(members[s])) for s in speakers])
        seed = generator.integers(seeds, size=seeds)
        total = words[chosen].sum() * seeds
        for name, values in table.items():
            found[name][draw] = values[seed][:, chosen].sum() / total
    return found


def rate(frames: list[pd.DataFrame], over: str = "errors", by: str = "words") -> float:
    return sum(f[over].sum() for f in frames) / sum(f[by].sum() for f in frames)


def final_loss(curves: list[pd.DataFrame]) -> np.ndarray:
    """Validation loss after the last round, one a seed."""
    kept = [c[(c["metric"] == "loss") & (c["split"] == "validation")] for c in curves]
    return np.array([float(c["value"].iloc[-1]) for c in kept])


def table(
    errors: dict[str, list[pd.DataFrame]], curves: dict[str, list[pd.DataFrame]], found: dict[str, np.ndarray]
) -> pd.DataFrame:
    """A row a bar."""
    rows = []
    for kind in KINDS:
        for quality in kind.qualities:
            name = f"{kind.name}-{quality}"
            loss = final_loss(curves[name])
            low, high = np.quantile(found[name], (0.025, 0.975))
            gain = np.quantile(found[name] - found["none-clean"], (0.025, 0.975))
            rows.append({
                "kind": kind.name, "quality": quality, "seeds": len(loss),
                "validation_loss": loss.mean(),
                "validation_loss_sd": loss.std(ddof=1) if len(loss) > 1 else np.nan,
                "wer": rate(errors[name]), "wer_low": low, "wer_high": high,
                "cer": rate(errors[name], "cer_errors", "characters"),
                "wer_less_none": rate(errors[name]) - rate(errors["none-clean"]),
                "wer_less_none_low": gain[0], "wer_less_none_high": gain[1],
            })  # fmt: skip
    return pd.DataFrame(rows).round(4)


ORDERS = [
    *((f"{k}-{q}", "none-clean", "federated pretraining beats none") for q in QUALITIES
      for k in ("fl10-fedavg", "fl10-loss", "fl100-fedavg", "fl100-loss")),
    *((f"{size}-loss-{q}", f"{size}-fedavg-{q}", "loss weighting beats FedAvg") for q in QUALITIES
      for size in ("fl10", "fl100")),
    *((f"fl10-{rule}-{q}", f"fl100-{rule}-{q}", "10 clients end better than 100") for q in QUALITIES
      for rule in ("fedavg", "loss")),
    *((f"centralised-{q}", f"fl10-loss-{q}", "centralised beats federated") for q in QUALITIES),
    ("fl10-loss-clean", "local-clean", "federated beats one client alone"),
]  # fmt: skip


def orders(
    errors: dict[str, list[pd.DataFrame]], curves: dict[str, list[pd.DataFrame]], found: dict[str, np.ndarray]
) -> pd.DataFrame:
    """A row a claim: the paired difference in WER with its 95% interval, and in validation loss."""
    rows = []
    for better, worse, claim in ORDERS:
        low, high = np.quantile(found[better] - found[worse], (0.025, 0.975))
        loss = final_loss(curves[better]) - final_loss(curves[worse])
        rows.append({
            "claim": claim, "better": better, "worse": worse,
            "wer_difference": rate(errors[better]) - rate(errors[worse]), "low": low, "high": high,
            "holds": "yes" if high < 0 else "the contrary" if low > 0 else "undecided",
            "loss_difference": loss.mean(), "loss_lower_in_seeds": f"{int((loss < 0).sum())} of {len(loss)}",
        })  # fmt: skip
    return pd.DataFrame(rows).round(4)


# %% Clocks: the same rounds on A40s; learning does not depend on the device here
def round_ends_s(settings: tuple[str, ...]) -> np.ndarray:
    """Ends of the rounds of a timing-only run, float64[rounds], seconds."""
    from fedsim.run import time_rounds

    timed = scenario.load(SCENARIO, settings).scenario.model_copy(update={"learning": None})
    return np.array([record.end_s for record in time_rounds(timed)])


# %% Picture
def curve(frames: list[pd.DataFrame]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rounds done [n], seconds [n] and validation loss [seeds, n]."""
    kept = [c[(c["metric"] == "loss") & (c["split"] == "validation")] for c in frames]
    values = np.array([c["value"].to_numpy() for c in kept])
    return kept[0]["round"].to_numpy() + 1, kept[0]["time_s"].to_numpy(), values


def draw(
    numbers: pd.DataFrame, curves: dict[str, list[pd.DataFrame]], clocks: dict[str, np.ndarray], path: Path
) -> None:
    figure, axes = plt.subplots(2, 3, figsize=(13, 8), dpi=130, layout="constrained")
    shown = [k for k in KINDS if k.name not in ("none", "local")]
    none = numbers[numbers["kind"] == "none"].iloc[0]
    fed = numbers[numbers["kind"].str.startswith("fl")]
    figure.suptitle(
        f"Federated pretraining takes {-100 * fed['wer_less_none'].max():.0f} to"
        f" {-100 * fed['wer_less_none'].min():.0f} points off a word error rate of {100 * none['wer']:.0f}%"
        f" ({int(none['seeds'])} seeds, 95% intervals)",
        fontsize=12.5, fontweight="bold", x=0.01, ha="left",
    )  # fmt: skip
    panels = {
        "rounds": (axes[0, 0], "round", "Validation loss by round"),
        "nx": (axes[0, 1], "simulated days", "by the clock of Jetson Xavier NX"),
        "a40": (axes[0, 2], "simulated hours", "by the clock of NVIDIA A40"),
    }
    for kind in shown:
        rounds, seconds, values = curve(curves[f"{kind.name}-clean"])
        bad = curve(curves[f"{kind.name}-low"])[2].mean(axis=0)
        size = kind.name.split("-")[0]
        ends = clocks.get(f"{size}-a40")
        on_a40 = seconds if ends is None else np.concatenate([[0.0], ends])[rounds]
        when = {
            "rounds": rounds,
            "nx": None if size == "centralised" else seconds / DAY_S,
            "a40": on_a40 / HOUR_S,
        }
        for panel, (ax, _, _) in panels.items():
            x = when[panel]
            if x is None:
                continue
            ax.plot(x, values.mean(axis=0), color=kind.colour, lw=1.8, label=kind.label)
            ax.fill_between(x, values.min(axis=0), values.max(axis=0), color=kind.colour, alpha=0.15, lw=0)
            if panel == "rounds":
                ax.plot(x, bad, color=kind.colour, lw=1.0, ls=":")
    for ax, label, title in panels.values():
        plain(ax, LIGHT)
        ax.set_xlabel(label)
        ax.set_title(title, fontsize=10, loc="left")
    axes[0, 0].set_ylabel("contrastive loss on other voices (nats)")
    axes[0, 0].legend(frameon=False, fontsize=8, labelcolor=LIGHT.ink)
    axes[0, 0].text(0.99, 0.97, "dotted: 30% of the clients record badly", transform=axes[0, 0].transAxes,
                    fontsize=8, ha="right", va="top", color=LIGHT.ink)  # fmt: skip
    for ax, quality in zip(axes[1, :2], QUALITIES, strict=True):
        plain(ax, LIGHT)
        here = numbers[(numbers["quality"] == quality) | (numbers["kind"] == "none")]
        at = np.arange(len(here))
        wer = 100 * here["wer"].to_numpy()
        bars = np.abs(100 * here[["wer_low", "wer_high"]].to_numpy().T - wer)
        ax.bar(at, wer, color=[BY_NAME[k].colour for k in here["kind"]], width=0.7, zorder=2)
        ax.errorbar(at, wer, yerr=bars, fmt="none", ecolor=LIGHT.ink, elinewidth=1, capsize=3, zorder=3)
        for x, value, top in zip(at, wer, wer + bars[1], strict=True):
            ax.text(x, top + 0.8, f"{value:.0f}", ha="center", fontsize=9, color=LIGHT.ink)
        ax.set_xticks(
            at, [BY_NAME[k].label.replace(", ", "\n").replace(" ", "\n", 1) for k in here["kind"]], fontsize=7
        )
        ax.set_ylim(0, 1.12 * 100 * numbers["wer_high"].max())
        ax.set_title(f"WER on test voices: {SAID[quality]}", fontsize=10, loc="left")
    axes[1, 0].set_ylabel("word error rate (%)")
    plain(axes[1, 2], LIGHT)
    others = numbers[numbers["kind"] != "none"].iloc[::-1]
    at = np.arange(len(others))
    middle = 100 * others["wer_less_none"].to_numpy()
    reach = np.abs(100 * others[["wer_less_none_low", "wer_less_none_high"]].to_numpy().T - middle)
    for y, x, low, high, kind in zip(at, middle, *reach, others["kind"], strict=True):
        axes[1, 2].errorbar(x, y, xerr=[[low], [high]], fmt="o", color=BY_NAME[kind].colour, capsize=3)
    names = [
        BY_NAME[k].label + (" (30% bad)" if q == "low" else "")
        for k, q in zip(others["kind"], others["quality"], strict=True)
    ]
    axes[1, 2].set_yticks(at, names, fontsize=8)
    axes[1, 2].axvline(0, color=LIGHT.ink, lw=0.8)
    axes[1, 2].set_title("WER less that without pretraining (points, paired)", fontsize=10, loc="left")
    figure.savefig(path)
    plt.close(figure)


# %% Main
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/fig5"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only-draw", action="store_true", help="run nothing; draw what is finished")
    parser.add_argument("--out", type=Path, default=HERE)
    asked = parser.parse_args()
    if not asked.only_draw:
        asked.runs.mkdir(parents=True, exist_ok=True)
        run_all(asked.runs, asked.seeds, asked.workers)
    measured, traced = read(asked.runs, asked.seeds)
    drawn = draws(measured)
    bars, claims = table(measured, traced, drawn), orders(measured, traced, drawn)
    for folder in ("results", "pictures"):
        (asked.out / folder).mkdir(parents=True, exist_ok=True)
    bars.to_csv(asked.out / "results" / "fig5.csv", index=False)
    claims.to_csv(asked.out / "results" / "fig5-orders.csv", index=False)
    draw(bars, traced, {name: round_ends_s(settings) for name, settings in CLOCKS.items()},
         asked.out / "pictures" / "fig5.png")  # fmt: skip
    print(bars.to_string(index=False), claims.to_string(index=False), sep="\n\n")
