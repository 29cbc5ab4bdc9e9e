"""Hold what devices of a kind have in common against every published training step; write it down.

    python analysis/public_record.py          # analysis/public-record.md
    python analysis/public_record.py --fit    # hardware/kinds.csv as well, fitted anew

Every step is foretold by its kind, fitted without any step of its chip.
"""

# %% Command line and places
from __future__ import annotations

import argparse
import csv
import math
from collections import defaultdict
from pathlib import Path

from fedsim.hardware import load_device
from fedsim.pricing import Pricer, Technique, load_trace, pooling, priors
from fedsim.pricing.calibration import calibrate
from fedsim.pricing.pooling import Foretold
from fedsim.units import GIB, SAMPLES_PER_S, format_duration

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "analysis" / "public-record.md"
KINDS = ROOT / "hardware" / priors.FILE
_Z90 = 1.645
NAMES = {
    "gpu": "NVIDIA cards",
    "jetson": "NVIDIA Jetson boards",
    "arm": "ARM boards and phones",
    "apple": "Macs with Apple's processors",
    "x86": "Other processors",
}


# %% What devices of a kind have in common, fitted anew
def write_kinds() -> None:
    lines = KINDS.read_text(encoding="utf-8").splitlines()
    fitted = pooling.refit()
    with KINDS.open("w", encoding="utf-8", newline="") as stream:
        stream.writelines(f"{line}\n" for line in lines if line.startswith("#"))
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(priors.COLUMNS)
        for prior in fitted.values():
            numbers = [getattr(prior, name) for name in priors.COLUMNS]
            table.writerow([_cell(value) for value in numbers])
    priors.priors.cache_clear()


def _cell(value: object) -> object:
    if isinstance(value, float):
        return "" if value == math.inf else f"{value:.3g}"
    return " ".join(value) if isinstance(value, tuple) else value


# %% The page
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fit", action="store_true", help="fit hardware/kinds.csv anew first")
    if parser.parse_args().fit:
        write_kinds()
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    found = {kind: pooling.left_out(kind) for kind in priors.KINDS}
    found = {kind: steps for kind, steps in found.items() if steps}
    text = [_HEAD, "| kind | steps | chips | typical | bias | worst | standard error | within 90% |"]
    text.append("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for kind, steps in found.items():
        if any(one.step.fitted for one in steps):
            s, chips = pooling.score(steps), len({one.step.chip for one in steps if one.step.fitted})
            text.append(
                f"| {NAMES[kind]} | {s.steps} | {chips} | {s.typical:.2f} | {s.bias:.2f} | {s.worst:.2f} "
                f"| {priors.priors()[kind].error:.2f} | {_covered(kind, steps):.0%} |"
            )
    text += ["", _LEGEND, *disagreements(), "", _NUMBERS, *_prior_rows()]
    for kind, steps in found.items():
        text += ["", f"## {NAMES[kind]}", "", *_rows(steps, kind)]
    text += ["", *_waiting(), "", *_memory(), "", *_single_rates()]
    return "\n".join(text) + "\n"


_HEAD = """# The public record

Training steps that others have published, and those that devices of the catalogue are calibrated by, beside
what fedsim foretells from a datasheet. Each chip is left out: its steps are foretold by what the *other*
devices of its kind have in common, as for a device that nobody measured. `python analysis/public_record.py`
writes this page, `fedsim devices --record` prints its tables, and `hardware/measurements/public/` has the
address of every figure.
"""
_LEGEND = """Typical is the factor that half of the steps stay within, bias the geometric mean of predicted
over measured. The standard error counts every chip alike, and two more that err by 1.3: few chips tell
little."""
_DISAGREE = """
## Where the record disagrees with itself

The same model on the same card in the same precision, by work done a second: between programs, or between two
settings of one (the order of an image's channels, say). No prediction is nearer to both than half of that.

| device | model | precision | apart | fastest | slowest |
| --- | --- | --- | --- | --- | --- |"""
_DEPTHWISE = """
(*) Not fitted and not scored: convolutions of one channel a group are a kind of work that no trace tells from
other grouped ones, and processors take far longer for them."""
_NUMBERS = """## What devices of a kind have in common

A step takes launches x launch time + FLOPs / (share x peak of the unit that runs) + bytes / (share x
bandwidth). Convolutions on a GPU do at most *reach* FLOPs for each byte that its memory could move.

| kind | launch | convolutions | matrix products | streams | reach fp32, 16 bit | host, an example |
| --- | --- | --- | --- | --- | --- | --- |"""


def _covered(kind: str, steps: list[Foretold]) -> float:
    """Share of the steps that are scored whose 90% interval holds what was measured."""
    scored = [abs(math.log(one.ratio)) for one in steps if one.step.fitted]
    return sum(off <= _Z90 * math.log(priors.priors()[kind].error) for off in scored) / len(scored)


def _prior_rows() -> list[str]:
    return [
        f"| {NAMES[p.kind]} | {format_duration(p.launch_s)} | {p.conv:.0%} | {p.matmul:.0%} | {p.stream:.0%} "
        f"| {'' if p.reach_32 == math.inf else f'{p.reach_32:.0f}, {p.reach_16:.0f}'} "
        f"| {format_duration(p.host_s) if p.host_s else ''} |"
        for p in priors.priors().values()
    ]


def _rows(steps: list[Foretold], kind: str) -> list[str]:
    error = priors.priors()[kind].error ** _Z90
    text = ["| device | model | step | precision | program | measured | foretold, 90% | ratio |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for one in sorted(steps, key=lambda one: one.step.device.name):
        s, low, high = one.step, one.predicted_s / error, one.predicted_s * error
        program = "own, or the study's" if s.published is None else s.published.framework
        note = "" if s.fitted else " (*)"
        link = program if s.published is None else f"[{program}]({s.published.source})"
        how = f", {s.technique}" if s.technique else ""
        text.append(
            f"| {s.device.name} | {s.model}{note} | {s.batch} x {s.size}{how} "
            f"| {s.precision} | {link} | {format_duration(s.seconds)} | {format_duration(one.predicted_s)} "
            f"({format_duration(low)} to {format_duration(high)}) | {one.ratio:.2f} |"
        )
    if any(not one.step.fitted for one in steps):
        text.append(_DEPTHWISE)
    return text


# %% What the record itself disagrees on
def disagreements() -> list[str]:
    """The same model on the same device in one precision, by examples a second, over all sources."""
    groups: dict[tuple[str, str, str], list[Foretold]] = defaultdict(list)
    for kind in priors.KINDS:
        for one in pooling.left_out(kind):
            if one.step.published is not None:
                groups[one.step.device.name, one.step.model, one.step.precision].append(one)
    text = []
    for (device, model, precision), steps in groups.items():
        sources = {one.step.published.source for one in steps if one.step.published}
        amount = [one.step.batch * _size(one) / one.step.seconds for one in steps]
        if len(sources) > 1 and max(amount) > 1.25 * min(amount):
            fast = steps[amount.index(max(amount))].step.published
            slow = steps[amount.index(min(amount))].step.published
            assert fast is not None
            assert slow is not None
            text.append(
                f"| {device} | {model} | {precision} | {max(amount) / min(amount):.2f} | {fast.framework} "
                f"| {slow.framework} |"
            )
    if not text:
        return []
    return [_DISAGREE, *text]


def _size(one: Foretold) -> float:
    assert one.step.published is not None
    return one.step.published.size


def _waiting() -> list[str]:
    waiting = pooling.steps()[1]
    if not waiting:
        return []
    text = [
        "## Not priced yet",
        "",
        "| hardware | model | precision | measured | why |",
        "| --- | --- | --- | --- | --- |",
    ]
    text += [
        f"| {w.published.hardware} | {w.published.model} | {w.published.precision} "
        f"| {format_duration(w.published.seconds_per_batch)} | {w.why} |"
        for w in waiting
    ]
    return text


# %% Memory, and rates of single operations
def bounds(name: str) -> list[dict[str, str]]:
    """The rows of ``hardware/measurements/bounds``."""
    lines = (ROOT / "hardware" / "measurements" / "bounds" / f"{name}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(line for line in lines.splitlines() if not line.startswith("#")))


def footprint_gib(row: dict[str, str]) -> float:
    """Predicted peak memory of a row of ``memory.csv``."""
    words = dict(part.split("=") for part in row["technique"].split(";") if part)
    device, trace = load_device(row["device"]), load_trace(row["model"])
    pricer = Pricer(
        device, trace, Technique(row["precision"], checkpointing=words.get("checkpointing", "none"))
    )
    samples = round(float(row["seconds"]) * SAMPLES_PER_S)
    return float(pricer.footprint_bytes(int(row["batch_size"]), samples)) / GIB


def _memory() -> list[str]:
    text = ["## Memory", "", "| model | step | precision | program | published, GiB | ours | note |"]
    text.append("| --- | --- | --- | --- | --- | --- | --- |")
    for row in bounds("memory"):
        text.append(
            f"| {row['model']} | {row['batch_size']} x {row['seconds']} s | {row['precision']} "
            f"| [{row['framework']}]({row['source']}) | {_range(row['least_gib'], row['most_gib'])} "
            f"| {footprint_gib(row):.1f} | {row['note']} |"
        )
    return text


def _single_rates() -> list[str]:
    text = ["## Rates of single operations", "", "| device | of | published | ours in a step | note |"]
    text.append("| --- | --- | --- | --- | --- |")
    for row in bounds("rates"):
        rates = calibrate(load_device(row["device"])).rates["fp32"]
        ours = rates.matmul_flops_per_s if row["what"] == "matmul" else rates.bandwidth_bytes_per_s
        low, high = (f"{float(row[key]) / 1e9:.4g}" if row[key] else "" for key in ("least", "most"))
        unit = "GFLOP/s" if row["what"] == "matmul" else "GB/s"
        text.append(
            f"| {row['device']} | {row['what']}, {unit} | [{_range(low, high)}]({row['source']}) "
            f"| {ours / 1e9:.4g} | {row['note']} |"
        )
    return text


def _range(least: str, most: str) -> str:
    return f"{least} to {most}" if least and most else f"up to {most}" if most else f"more than {least}"


# %% Run
if __name__ == "__main__":
    main()
