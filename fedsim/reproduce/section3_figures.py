"""Figures 2 to 4 and the claims of section 3 that need no run: what memory and FLOPs are made of.

An account says which bytes are counted at the end of the forward pass. The paper does not say how
it counted, so several stand side by side (accounts.py in fedsim/pricing argues for the first):

    modules           weights, and every module's output with its gradient, in GiB: meets both points
    saved             weights and every tensor that autograd keeps, contrastive loss included, in GB
    without the loss  the same up to the model's outputs, which is where the forward pass ends
    without n x n     stored attention maps left out
    footprint         the whole process at its peak, gradients, optimizer state and runtime included

The paper's own two points lie on a line in seconds of audio whose value at 0 s is the size of the
weights, if its GB are GiB. What is really kept holds n x n maps, and cannot give a line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from fedsim.hardware import load_device
from fedsim.pricing import LayerTrace, Pricer, Technique, load_trace
from fedsim.pricing.accounts import accounts, counts_as_module
from fedsim.pricing.advice import Fit
from fedsim.pricing.polynomial import powers, value
from fedsim.reproduce import table1
from fedsim.reproduce.figure import Figure, commented, rows
from fedsim.units import GB, GIB, SAMPLES_PER_S

BATCH = 4
SETTINGS = {"peak_5s5_b4": (4, 5.5), "peak_12s_b8": (8, 12.0)}
LENGTHS_S = np.arange(1.0, 20.5, 0.5)
MEMORY_SIZES = (4, 8, 16, 32, 48)
"""GiB of memory that devices of section 3.3 are sold with, and the Raspberry Pi's smaller sibling."""

Array = NDArray[np.float64]


@cache
def trace_of(size: str) -> LayerTrace:
    """The trace of wav2vec 2.0 ``base`` or ``large``."""
    return load_trace(f"wav2vec2-{size}")


@dataclass(frozen=True)
class Stage:
    """A bar of Figure 2: consecutive layers under one name.

    Attributes:
        name: for example ``CNN 1`` or ``transformer 12``.
        saved_bytes: kept for the backward pass.
        map_bytes: the part of them that grows with the square of the frames.
        output_bytes: of its modules' outputs, as model summaries count them.
        training_flops: forward and backward.
    """

    name: str
    saved_bytes: float
    map_bytes: float
    output_bytes: float
    training_flops: float


def stages(trace: LayerTrace, backend: str, batch: int, seconds: float) -> list[Stage]:
    """A step in fp32 with stored attention, stage by stage; ``loss`` is the last one."""
    samples = round(seconds * SAMPLES_PER_S)
    single, several = trace.names(f"{backend}/eager/fp32")
    axes = [int(n) for n in trace.lengths(samples)]
    found: dict[str, list[float]] = {}
    for layer in trace.layers:
        sums = found.setdefault(_stage(layer.name, layer.group), [0.0, 0.0, 0.0, 0.0])
        profile = layer.profile(single if batch == 1 else several)
        if counts_as_module(layer):
            sums[2] += float(profile["output_bytes"](batch, axes))
        for metric in ("saved_bytes", "forward_flops", "backward_flops"):
            for key, coefficient in profile[metric].terms.items():
                much = value(key, batch, axes, coefficient)
                sums[0 if metric == "saved_bytes" else 3] += much
                if metric == "saved_bytes" and sum(power for _, power in powers(key)) == 2:
                    sums[1] += much
    return [Stage(name, *sums) for name, sums in found.items()]


def _stage(name: str, group: str) -> str:
    if group == "loss":
        return "loss"
    if group == "quantization":
        return "quantizer"
    for prefix, said in (("feature_extractor.conv_layers.", "CNN"), ("encoder.layers.", "transformer")):
        if name.startswith(prefix):
            return f"{said} {int(name.removeprefix(prefix).split('.')[0]) + 1}"
    return "projection" if group == "cnn_encoder" else "position"


def saved_bytes(
    size: str, backend: str, batch: int, seconds: float, loss: bool = True, maps: bool = True
) -> float:
    """Weights, the batch itself and what is saved for the backward pass, by an account of the module."""
    trace = trace_of(size)
    axes = [int(n) for n in trace.lengths(round(seconds * SAMPLES_PER_S))]
    total = 4.0 * trace.parameters + float(trace.input_bytes(batch, axes))
    for stage in stages(trace, backend, batch, seconds):
        if loss or stage.name != "loss":
            total += stage.saved_bytes - (0.0 if maps else stage.map_bytes)
    return total


def footprint_bytes(size: str, precision: str, seconds: Array | float, batch: int = BATCH) -> Array:
    """Peak of the training process on the paper's Jetson boards: CUDA, stored attention, Adam."""
    pricer = Pricer(load_device("jetson-agx-xavier"), trace_of(size), Technique(precision=precision))
    return pricer.footprint_bytes(batch, np.asarray(np.round(np.asarray(seconds) * SAMPLES_PER_S), int))


def training_flops(size: str, seconds: Array | float, batch: int = BATCH) -> Array:
    """FLOPs of forward and backward pass."""
    pricer = Pricer(load_device("jetson-agx-xavier"), trace_of(size), Technique())
    return pricer.training_flops(batch, np.asarray(np.round(np.asarray(seconds) * SAMPLES_PER_S), int))


def off_line_percent(x: Array, y: Array) -> float:
    """Largest distance of y from its least-squares line, in per cent of the largest y."""
    slope, intercept = np.polyfit(x, y, 1)
    return float(100 * np.max(np.abs(y - (slope * x + intercept))) / np.max(y))


_ACCOUNTS = (
    ("/cpu", "cpu", False, True, "CPU path (float dropout masks), without the loss"),
    ("/cpu with the loss", "cpu", True, True, "CPU path, contrastive loss included"),
    ("/cuda", "cuda", False, True, "CUDA path (boolean dropout masks), without the loss"),
    ("/cuda with the loss", "cuda", True, True, "CUDA path, contrastive loss included"),
    ("/cpu without n x n", "cpu", True, False, "CPU path with the loss, attention maps left out"),
    ("/cuda without n x n", "cuda", True, False, "CUDA path with the loss, attention maps left out"),
)
_WHY = (
    "; the attention maps that we count grow with the square of the frames and the paper's account has"
    " none, so no account of what autograd keeps meets both of its points"
)


def figure2() -> Iterator[Figure]:
    """The two peaks by every account, and the paper's line through them."""
    claims = {row["id"]: float(row["value"]) for row in rows("claims.csv") if row["id"].startswith("fig2")}
    for item, (batch, seconds) in SETTINGS.items():
        paper = claims[f"fig2.{item}"]
        modules = accounts(trace_of("base"), batch, round(seconds * SAMPLES_PER_S))[0]
        how = f"{modules.how}, as model summaries count; the paper's GB read as GiB"
        yield Figure("figure2", item, paper, modules.bytes / GIB, "GiB", how)
        for name, backend, loss, maps, how in _ACCOUNTS:
            ours = saved_bytes("base", backend, batch, seconds, loss, maps) / GB
            why = _WHY if item == "peak_12s_b8" and maps else ""
            yield Figure("figure2", item + name, paper, ours, "GB", f"weights + saved, {how}{why}")
        whole = float(footprint_bytes("base", "fp32", seconds, batch)) / GB
        how = "the whole process at its peak on a Jetson board; the paper counts less, so it must be larger"
        yield Figure("figure2", f"{item}/footprint", None, whole, "GB", how, holds=whole > paper)
    (b0, s0), (b1, s1) = SETTINGS.values()
    low, high = (claims[f"fig2.{item}"] for item in SETTINGS)
    at_nothing = low - b0 * s0 * (high - low) / (b1 * s1 - b0 * s0)
    how = "fp32 weights, against the paper's line through its two peaks at 0 s of audio, its GB read as GiB"
    yield Figure("figure2", "line_at_0_s", at_nothing, 4 * trace_of("base").parameters / GIB, "GiB", how)


def figure3() -> Iterator[Figure]:
    """How straight memory and FLOPs are over 1 to 20 s, and how long a sentence 16 GB carry."""
    pricers = {
        s: Pricer(load_device("jetson-agx-xavier"), trace_of(s), Technique()) for s in ("base", "large")
    }
    for size, pricer in pricers.items():
        paper_bytes = np.array([saved_bytes(size, "cuda", BATCH, s, maps=False) for s in LENGTHS_S])
        samples = np.round(LENGTHS_S * SAMPLES_PER_S).astype(int)
        for item, values, how in (
            ("memory", paper_bytes, "weights + saved without n x n maps, the account of Figure 2"),
            ("flops", pricer.forward_flops_paper(BATCH, samples), "FLOPs without the products of attention"),
            (
                "memory/footprint",
                footprint_bytes(size, "fp32", LENGTHS_S),
                "the whole footprint, maps included",
            ),
            ("flops/training", training_flops(size, LENGTHS_S), "all FLOPs, forward and backward"),
        ):
            off = off_line_percent(LENGTHS_S, values)
            said = f"{how}: largest distance from a straight line over 1 to 20 s, batch 4; holds within 5%"
            yield Figure("figure3", f"linear/{size}/{item}", None, off, "percent", said, holds=off <= 5)
    longest = Fit(load_device("jetson-agx-xavier"), trace_of("large"), BATCH, 88_000).longest_plain.seconds
    how = "longest sentence that fits in fp32 at batch 4 on the 16 GB AGX Xavier; the paper: around 7 to 8 s"
    yield Figure("figure3", "large_on_16gb_seconds", None, longest, "s", how, holds=7 <= longest <= 8)


def memory_size(needed_bytes: float) -> float:
    """The smallest of ``MEMORY_SIZES`` that carries a footprint; infinity if none does."""
    return min((size for size in MEMORY_SIZES if needed_bytes <= size * GIB), default=np.inf)


def figure4() -> Iterator[Figure]:
    """What mixed precision saves: not significant means that it asks for the same size of memory."""
    for size in ("base", "large"):
        for seconds in (2.5, 5.5, 8.0, 12.0, 15.0, 20.0):
            plain, mixed = (float(footprint_bytes(size, p, seconds)) for p in ("fp32", "mixed"))
            sizes = [memory_size(needed) for needed in (plain, mixed)]
            said = " and ".join("more than 48 GB" if s == np.inf else f"{s:g} GB" for s in sizes)
            how = (
                f"footprint at batch 4: {plain / GB:.2f} GB in fp32, {mixed / GB:.2f} GB mixed; the smallest"
                f" memory of 4, 8, 16, 32, 48 GB that holds it: {said}; holds if they are the same"
            )
            saving = 100 * (1 - mixed / plain)
            item = f"mixed_saving/{size}/{seconds:g} s"
            yield Figure("figure4", item, None, saving, "percent", how, holds=sizes[0] == sizes[1])


def ratios() -> Iterator[Figure]:
    """Section 3.1: the transformer over the CNN encoder."""
    how = "quotient of our Table 1: transformer over CNN encoder, {}"
    for row in rows("claims.csv"):
        if not row["id"].startswith("table1."):
            continue
        size = "large" if ".large_" in row["id"] else "base"
        count = table1.module_flops if row["id"].endswith("flops") else table1.module_parameters
        modules = count(trace_of(size))
        ours = modules["transformer"] / modules["cnn_encoder"]
        item = f"{size}/transformer_over_cnn/{row['id'].rsplit('_', 1)[1]}"
        yield Figure("table1", item, float(row["value"]), ours, "ratio", how.format(size))


_ACCOUNT = (
    "Another way to count, shown because the paper does not say how it did; the first line of this "
    "setting is the one that meets both of its points."
)
_MAPS = (
    "Stored attention maps grow with the square of the length; the paper's account has none. Without "
    "them, and in FLOPs, it is a straight line."
)
_COMMENTS = {
    "peak_*/c*": _ACCOUNT,
    "linear/*/memory/footprint": _MAPS,
    "mixed_saving/base/20 s": (
        "Here the saving happens to cross the border between two sizes of memory, 32 and 16 GB. It is as "
        "small as at the other lengths."
    ),
}


def figures() -> list[Figure]:
    """All of them, in the paper's order."""
    return commented([*ratios(), *figure2(), *figure3(), *figure4()], _COMMENTS)
