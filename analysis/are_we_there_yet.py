"""Are we there yet? The paper's prediction against devices really sold since, and the state of 2026.

python analysis/are_we_there_yet.py [--out analysis] [--draws 10000]

Writes are-we-there-yet.md and its pictures; every figure of the page is computed here, but for the
ranking of techniques, which levers.py has left in results/levers.csv.
"""

# %% Setup
from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import levers
import numpy as np
from back_test import (
    A40,
    BATCH,
    LINES,
    SAMPLES_PER_S,
    SECONDS,
    TRENDS,
    Sold,
    back_test,
    doubling_years,
    draw_back_test,
    predicted,
    speed,
    trace,
)

from fedsim.feasible import Limits, Procedure, Question, background
from fedsim.feasible.grid import Grid, same_learning
from fedsim.feasible.picture import draw as draw_years
from fedsim.feasible.study import Result, Study, study
from fedsim.hardware import Device, load_device, load_trend
from fedsim.pricing import Pricer, Technique
from fedsim.units import DAY_S, GIB

LENGTHS_S = np.arange(1.0, 60.25, 0.25)
TODAY = 2026
LARGE_SECONDS = 15.0


NEWEST = (
    "jetson-xavier-nx",
    "jetson-orin-nano-super",
    "jetson-orin-nx",
    "jetson-agx-orin-64gb",
    "jetson-thor",
    "raspberry-pi-4",
    "raspberry-pi-5",
    "macbook-pro-2019",
    "macbook-pro-m4",
    "snapdragon-870",
    "snapdragon-8-elite",
    "dimensity-9300",
    "google-tensor-g4",
    "a18-pro",
)


# %% The state of 2026: what trains what, how long a sentence, in how many days
@dataclass(frozen=True)
class State:
    """A device as sold, and one model: plain training, and the best of what learns the same."""

    device: Device
    size: str
    plain_longest_s: float
    plain_days: float
    best_longest_s: float
    longest_technique: Technique
    best_days: float
    best_technique: Technique | None


def state(device: Device, size: str) -> State:
    held = background("usual", device).held_bytes
    samples = np.round(LENGTHS_S * SAMPLES_PER_S).astype(int)
    longest, days = {}, {}
    for technique in same_learning(device.training_precisions, BATCH, trace(size)):
        pricer = Pricer(device, trace(size), technique)
        fits = pricer.fits(BATCH, samples, held)
        longest[technique] = float(LENGTHS_S[fits].max()) if fits.any() else 0.0
        if bool(pricer.fits(BATCH, round(SECONDS * SAMPLES_PER_S), held)):
            days[technique] = procedure_days(device, size, technique)
    first = Technique()
    best = min(days, key=lambda t: days[t], default=None)
    most = max(longest.values())
    lasting = min((t for t in longest if longest[t] == most), key=lambda t: len(t.changes(first)))
    return State(
        device, size, longest[first], days.get(first, math.inf), most, lasting,
        math.inf if best is None else days[best], best,
    )  # fmt: skip


def procedure_days(device: Device, size: str, technique: Technique) -> float:
    """Days of the paper's 150 rounds of 19,500 sentences of 5.5 s."""
    asked = Question(
        device,
        trace(size),
        technique,
        SECONDS,
        SECONDS,
        BATCH,
        background("none", device),
        Procedure(),
        Limits(),
    )
    return float(Procedure().rounds * asked.on(device, sum(asked.parts_s.values()))) / DAY_S


# %% Years: the paper's question with uncertain growth
def years(draws: int) -> Study:
    grid = Grid(
        [load_device("jetson-xavier-nx")],
        [trace("base"), trace("large")],
        [SECONDS],
        batch=BATCH,
        limits=Limits(A40),
    )
    return study(grid, [load_trend(name) for name in TRENDS], draws)


def newest_boards(draws: int) -> Study:
    """The same of the boards of 2024 and 2025, which start from where hardware really is."""
    grid = Grid(
        [
            load_device("jetson-orin-nano-super"),
            load_device("jetson-thor"),
            load_device("snapdragon-8-elite"),
        ],
        [trace("base")],
        [LARGE_SECONDS],
        batch=BATCH,
        limits=Limits(A40),
    )
    return study(grid, [load_trend("epoch")], draws)


# %% A federation of real devices: what a step of its kind asks of a phone
def conformer_values() -> dict[str, object]:
    """Figures on the phone that stands for the devices of arXiv 2408.10443."""
    phone, iphone, model = load_device("google-tensor-g3"), load_device("a15-bionic"), trace("base")
    samples = round(SECONDS * SAMPLES_PER_S)
    ways = {
        f"{BATCH} sentences, Adam": (BATCH, Technique()),
        "1 sentence, Adam": (1, Technique()),
        "1 sentence, SGD": (1, Technique(optimizer="sgd")),
        "1 sentence, SGD, checkpointing": (1, Technique(optimizer="sgd", checkpointing="both")),
    }
    steps = {way: (Pricer(phone, model, technique), batch) for way, (batch, technique) in ways.items()}
    peak = {way: float(p.footprint_bytes(batch, samples)) / GIB for way, (p, batch) in steps.items()}
    seconds = {way: float(p.step_s(batch, samples)) for way, (p, batch) in steps.items()}
    plain, lean = next(iter(ways)), list(ways)[-1]
    pricer, batch = steps[lean]
    parts = pricer.footprint(batch, samples)
    return {
        "conformer_parameters": model.parameters / 1e6,
        "conformer_phone": phone.title,
        "conformer_s": SECONDS,
        "conformer_table": "\n".join(
            _row([way, f"{peak[way]:.1f} GiB", f"{seconds[way]:.1f} s"]) for way in ways
        ),
        "conformer_plain_gib": peak[plain],
        "conformer_plain_share": peak[plain] / _left_gib(phone),
        "conformer_iphone_gib": _left_gib(iphone),
        "conformer_lean_gib": peak[lean],
        "conformer_weights_gib": float(parts["weights"] + parts["gradients"]) / GIB,
        "conformer_lean_step_s": seconds[lean],
        "conformer_update_mb": model.parameters * 4 / 1e6,
        "procedure_sentences": Procedure().examples,
    }


def _left_gib(device: Device) -> float:
    """Memory beside the system and the programs that usually run."""
    return (device.memory_bytes - device.system_bytes - background("usual", device).held_bytes) / GIB


# %% The page: figures for are-we-there-yet.in.md
def page(sold: Sequence[Sold], states: Sequence[State], nx: Study, newest: Study) -> str:
    ranking = levers.read(Path(__file__).with_name("results") / "levers.csv")
    values = {**_sold_values(sold), **_state_values(states), **_year_values(nx, newest)}
    values |= {**_lever_values(ranking), **conformer_values()}
    template = Path(__file__).with_name("are-we-there-yet.in.md").read_text(encoding="utf-8")
    return template.format(
        **values,
        today=TODAY,
        batch=BATCH,
        long_s=LARGE_SECONDS,
        most_s=LENGTHS_S[-1],
        sold_table="\n".join(_sold_table(sold)),
        state_table="\n".join(_state_table(states)),
        lever_tables=levers.markdown(ranking),
    )


def _sold_values(sold: Sequence[Sold]) -> dict[str, object]:
    by_name = {one.device.name: one for one in sold}
    thor, orin = by_name["jetson-thor"], by_name["jetson-agx-orin-64gb"].device
    boards = [one.device for one in sold if one.line is LINES[0]]
    small, roomy = max(boards, key=speed), max(boards, key=lambda d: d.memory_bytes)
    line = {name: predicted(LINES[0], load_trend(name), TODAY) for name in TRENDS}
    phones = [one.device for one in sold if one.line.title == "phones"]
    return {
        "growth": 2 ** (5 / load_trend("gao2022").doubling_years["compute"]),
        "line_speed": speed(line["gao2022"]),
        "line_gib": line["gao2022"].memory_bytes / GIB,
        "epoch_line_gib": line["epoch"].memory_bytes / GIB,
        "small": _title(small),
        "small_year": small.released,
        "small_speed": speed(small),
        "small_gib": small.memory_bytes / GIB,
        "small_doubling": doubling_years(LINES[0], "speed"),
        "roomy": _title(roomy),
        "roomy_gib": roomy.memory_bytes / GIB,
        "phone_gib": max(phone.memory_bytes for phone in phones) / GIB,
        "thor_year": thor.device.released,
        "thor_gib": thor.device.memory_bytes / GIB,
        "thor_speed": speed(thor.device),
        "thor_over_epoch": thor.speed_over["epoch"],
        "orin_year": orin.released,
        "orin_gib": orin.memory_bytes / GIB,
        "orin_speed": speed(orin),
        "large_memory_doubling": doubling_years(LINES[1], "memory"),
        "epoch_memory_doubling": load_trend("epoch").doubling_years["memory"],
        "large_doubling": doubling_years(LINES[1], "speed"),
        "elite_speed": speed(by_name["snapdragon-8-elite"].device),
        "pi_speed": speed(by_name["raspberry-pi-5"].device),
    }


def _state_values(states: Sequence[State]) -> dict[str, object]:
    base, large = ([s for s in states if s.size == size] for size in ("base", "large"))
    within = [s for s in base if s.best_days <= 15]
    lasting = [s for s in large if s.best_longest_s >= LARGE_SECONDS]
    quickest = min(base, key=lambda s: s.best_days)
    days = {s.device.name: s.best_days for s in base}
    assert quickest.best_technique is not None
    return {
        "devices": len(base),
        "base_fits": sum(math.isfinite(s.best_days) for s in base),
        "base_within": len(within),
        "base_within_names": _titles(within),
        "quickest": _title(quickest.device),
        "quickest_days": quickest.best_days,
        "quickest_how": quickest.best_technique.in_words(),
        "elite_days": days["snapdragon-8-elite"],
        "pi_days": days["raspberry-pi-5"],
        "mac_days": days["macbook-pro-m4"],
        "large_plain": sum(s.plain_longest_s >= LARGE_SECONDS for s in large),
        "large_best": len(lasting),
        "large_best_names": _titles(lasting),
    }


def _year_values(nx: Study, newest: Study) -> dict[str, object]:
    gao, epoch = (nx.of(trend)[0] for trend in nx.trends)
    reach = {result.answer.question.device.name: result for result in newest.results}
    assert epoch.spread is not None
    assert epoch.answer.binding is not None
    return {
        "gao_speed": gao.answer.findings["parity_speed"].moment,
        "gao_memory": gao.answer.findings["parity_memory"].moment,
        "epoch_year": epoch.answer.year,
        "epoch_binds": epoch.answer.binding.criterion.resource,
        "epoch_speed": epoch.answer.findings["parity_speed"].moment,
        "epoch_memory": epoch.answer.findings["parity_memory"].moment,
        "draws": nx.draws,
        "epoch_range": _range(epoch),
        "memory_last": epoch.spread.binding()["parity_memory"],
        "thor_range": _range(reach["jetson-thor"]),
        "thor_later": _later(reach["jetson-thor"]),
        "nano_range": _range(reach["jetson-orin-nano-super"]),
        "elite_range": _range(reach["snapdragon-8-elite"]),
    }


def _lever_values(ranking: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    """The best single technique of each fleet, and what it gains under both trends."""
    values: dict[str, object] = {}
    for name, fleet in zip(("mixed", "boards"), levers.FLEETS, strict=True):
        mine = {(row["technique"], row["trend"]): row for row in ranking if row["fleet"] == fleet}
        best = levers.best(ranking, fleet)
        values[f"{name}_best"] = best
        for trend in TRENDS:
            for key, technique in (("plain", levers.PLAIN), ("best", best), ("all", levers.ALL)):
                row = mine[technique, trend]
                values[f"{name}_{key}_{trend}"] = row["practical_year"]
                values[f"{name}_{key}_{trend}_gain"] = row["years_forward"]
            values[f"{name}_binds_{trend}"] = mine[levers.PLAIN, trend]["binds"]
    return values


def _range(result: Result) -> str:
    """Whole years at the 5% and the 95% quantile."""
    low, high = ("never" if q is None else str(math.ceil(q)) for q in _quantiles(result))
    return f"in {low}" if low == high else f"between {low} and {high}"


def _later(result: Result) -> str:
    """Years beyond those in which parity was expected when efficiency came from one relative."""
    low, high = (
        math.ceil(q or math.inf) - year for q, year in zip(_quantiles(result), (2026, 2027), strict=True)
    )
    return f"{min(low, high)} to {max(low, high)}"


def _quantiles(result: Result) -> tuple[float | None, float | None]:
    assert result.spread is not None
    found = result.spread.quantiles(result.spread.everything)
    return found["0.05"], found["0.95"]


def _title(device: Device) -> str:
    short = device.title.split(" (")[0]
    for maker in ("NVIDIA Jetson ", "Qualcomm ", "MediaTek ", "Google ", "Apple "):
        short = short.removeprefix(maker)
    return short.removesuffix(" phone")


def _titles(states: Sequence[State]) -> str:
    return ", ".join(_title(s.device) for s in states)


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def _table(heads: Sequence[str], body: Sequence[Sequence[object]]) -> list[str]:
    return [_row(heads), _row(["---"] * len(heads)), *map(_row, body)]


def _sold_table(sold: Sequence[Sold]) -> list[str]:
    heads = ["device", "sold", "speed, A40 = 1", "over gao2022", "over epoch"]
    body = [
        [
            one.device.title,
            one.device.released,
            f"{speed(one.device):.3f}",
            *(f"{one.speed_over[name]:.2f}" for name in TRENDS),
            f"{one.device.memory_bytes / GIB:.0f} GiB",
            *(f"{one.memory_over[name]:.2f}" for name in TRENDS),
        ]
        for one in sold
    ]
    return _table([*heads, "memory", *heads[-2:]], body)


def _state_table(states: Sequence[State]) -> list[str]:
    heads = ["device", "model", "longest, plain", "longest, best", "by", "days, plain", "days, best", "by"]
    body = [
        [
            one.device.title,
            one.size,
            _length(one.plain_longest_s),
            _length(one.best_longest_s),
            one.longest_technique.in_words() if one.best_longest_s else "",
            _days(one.plain_days),
            _days(one.best_days),
            one.best_technique.in_words() if one.best_technique else "",
        ]
        for one in states
    ]
    return _table(heads, body)


def _length(seconds: float) -> str:
    return f"{seconds:g}" if seconds else "-"


def _days(days: float) -> str:
    return "-" if math.isinf(days) else f"{days:.1f}" if days < 100 else f"{days:.0f}"


# %% Main
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument("--draws", type=int, default=10_000)
    options = parser.parse_args()
    pictures = options.out / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    nx_study = years(options.draws)
    draw_years(nx_study, pictures / "are-we-there-yet-years.png")
    draw_back_test(pictures / "are-we-there-yet.png")
    today = [state(load_device(name), size) for name in NEWEST for size in ("base", "large")]
    text = page(back_test(), today, nx_study, newest_boards(options.draws))
    (options.out / "are-we-there-yet.md").write_text(text, encoding="utf-8")
    print(options.out / "are-we-there-yet.md")
