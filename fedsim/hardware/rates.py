"""Effective rates that were measured on a device itself, as its file states them.

``fedsim calibrate`` times convolutions (plain and grouped), linear layers, attention products,
element-wise passes and launches on the host and writes what it found under ``rates`` of a device
file. An effective rate above the datasheet peak is impossible, so a file that claims one is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fedsim import units
from fedsim.hardware.section import Section

KINDS = ("conv", "grouped_conv", "matmul", "attention")
PEAK_OF = {"fp32": "fp32", "mixed": "fp16", "bf16": "bf16"}
"""The datasheet peak that bounds a training precision."""


@dataclass(frozen=True)
class MeasuredRates:
    """What micro-benchmarks on the device gave.

    Attributes:
        launch_s: seconds from one operation's start to the next's when neither does any work.
        bandwidth_bytes_per_s: effective rate of reading and writing memory, element by element.
        optimizer_bytes_per_s: the same while an optimizer steps; None if the file does not say.
        flops_per_s: effective rate of arithmetic by training precision and kind of layer
            (``KINDS``).
    """

    launch_s: float
    bandwidth_bytes_per_s: float
    flops_per_s: Mapping[str, Mapping[str, float]] = field(hash=False)
    optimizer_bytes_per_s: float | None = None


def read_rates(rates: Section, peaks: Mapping[str, float], bandwidth_bytes_per_s: float) -> MeasuredRates:
    """Read the ``rates`` of a device file.

    Args:
        rates: that section.
        peaks: datasheet peaks by precision, FLOP/s.
        bandwidth_bytes_per_s: datasheet peak of the memory.

    Raises:
        HardwareError: if a rate is missing, absurd, or above its peak.
    """
    right = "a duration from 0s to 1s, such as 8us"
    launch = rates.quantity("launch", units.parse_duration_s, 0.0, 1.0, right)
    bandwidth = _memory_rate(rates, "bandwidth", bandwidth_bytes_per_s)
    optimizer = _memory_rate(rates, "optimizer", bandwidth_bytes_per_s) if rates.has("optimizer") else None
    by_precision: dict[str, dict[str, float]] = {}
    for precision, peak_name in PEAK_OF.items():
        if not rates.has(precision):
            continue
        if peak_name not in peaks:
            rates.fail(f"has no peak to stay below; give compute.{peak_name}", precision)
        section = rates.section(precision, "a mapping from kinds of layers to rates")
        by_precision[precision] = _kinds(section, peaks[peak_name], f"compute.{peak_name}")
    if "fp32" not in by_precision:
        rates.fail("is missing; give the rates of fp32 at least", "fp32")
    rates.close()
    return MeasuredRates(launch, bandwidth, by_precision, optimizer)


def _memory_rate(rates: Section, key: str, peak: float) -> float:
    right = "a rate above 0 and up to memory.bandwidth"
    rate = rates.quantity(key, units.parse_bytes_per_s, 1e6, 1e15, right)
    if rate > peak:
        rates.fail(
            f"is {units.format_bytes(rate)}/s, above the peak of "
            f"{units.format_bytes(peak)}/s in memory.bandwidth; give {right}",
            key,
        )
    return rate


def _kinds(section: Section, peak: float, peak_name: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for kind in KINDS:
        if not section.has(kind):
            continue
        rate = section.quantity(
            kind, units.parse_flops_per_s, 1e6, 1e18, f"a rate above 0 and up to {peak_name}"
        )
        if rate > peak:
            section.fail(
                f"is {units.format_flops(rate)}/s, above the peak of {units.format_flops(peak)}/s in "
                f"{peak_name}; give a rate up to it",
                kind,
            )
        found[kind] = rate
    for kind in KINDS:
        if kind not in found:
            section.fail("is missing; give a rate such as 40GFLOP/s", kind)
    section.close()
    return found
