"""Effective rates that were measured on a device itself, as its file states them.

``fedsim calibrate`` times convolutions (plain and grouped), linear layers, attention products,
element-wise passes and launches on the host and writes what it found under ``rates`` of a device
file. An effective rate above the datasheet peak is impossible, so a file that claims one is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fedsim import units
from fedsim.options import Bandwidth, DurationOrZero, FlopRate, Options, option

KINDS = ("conv", "grouped_conv", "matmul", "attention")
PEAK_OF = {"fp32": "fp32", "mixed": "fp16", "bf16": "bf16"}
"""The datasheet peak that bounds a training precision."""

_RATE = "a rate above 0 such as 40GFLOP/s, and up to its peak"
_MEMORY_RATE = "a rate above 0 and up to memory.bandwidth"


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


@dataclass(frozen=True)
class Kinds(Options):
    """Rates of arithmetic by kind of layer."""

    conv: FlopRate = option(ge=1e6, right=_RATE)
    grouped_conv: FlopRate = option(ge=1e6, right=_RATE)
    matmul: FlopRate = option(ge=1e6, right=_RATE)
    attention: FlopRate = option(ge=1e6, right=_RATE)


@dataclass(frozen=True, kw_only=True)
class StatedRates(Options):
    """The ``rates`` of a device file."""

    launch: DurationOrZero = option(le=1.0, right="a duration from 0s to 1s, such as 8us")
    bandwidth: Bandwidth = option(ge=1e6, right=_MEMORY_RATE)
    optimizer: Bandwidth | None = option(None, ge=1e6, right=_MEMORY_RATE)
    fp32: Kinds = option(right="the rates of fp32 at least")
    mixed: Kinds | None = option(None, "the same in mixed precision")
    bf16: Kinds | None = option(None, "the same in bfloat16")

    def above(self, peaks: Mapping[str, float], bandwidth_bytes_per_s: float) -> tuple[str, str] | None:
        """The key of a rate above its peak, and a sentence; None if there is none.

        Args:
            peaks: datasheet peaks by precision, FLOP/s.
            bandwidth_bytes_per_s: datasheet peak of the memory.
        """
        for key in ("bandwidth", "optimizer"):
            if (rate := getattr(self, key)) is not None and rate > bandwidth_bytes_per_s:
                found, most = (f"{units.format_bytes(value)}/s" for value in (rate, bandwidth_bytes_per_s))
                return key, f"is {found}, above the peak of {most} in memory.bandwidth; give {_MEMORY_RATE}"
        for precision, peak in PEAK_OF.items():
            if (kinds := getattr(self, precision)) is None:
                continue
            if peak not in peaks:
                return precision, f"has no peak to stay below; give compute.{peak}"
            for kind, rate in vars(kinds).items():
                if rate > peaks[peak]:
                    found, most = (f"{units.format_flops(value)}/s" for value in (rate, peaks[peak]))
                    said = f"is {found}, above the peak of {most} in compute.{peak}; give a rate up to it"
                    return f"{precision}.{kind}", said
        return None

    def measured(self) -> MeasuredRates:
        """The same as the cost model takes it."""
        by_precision = {name: getattr(self, name) for name in PEAK_OF}
        flops = {name: dict(vars(kinds)) for name, kinds in by_precision.items() if kinds is not None}
        return MeasuredRates(self.launch, self.bandwidth, flops, self.optimizer)
