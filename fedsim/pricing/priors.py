"""What devices of a kind have in common: the shares of their datasheets that training reaches.

A kind is what executes: an NVIDIA card with memory of its own (``gpu``), one that shares its host's
(``jetson``), an ARM board or phone (``arm``), a Mac with a matrix coprocessor (``apple``), any other
processor (``x86``). ``hardware/kinds.csv`` has its few numbers, fitted to every timed step of any device
of the kind (``pricing/pooling.py``), and the error of that for a device that was left out. A step takes

    launches x launch_s + FLOPs / rate + bytes / (stream x bandwidth)

- Matrix products run at ``matmul`` of the peak of the unit that runs them: core, TF32 or 16-bit tensor
  core, vector unit or coprocessor. So do convolutions at ``conv``, but on a GPU for no more than
  ``reach`` FLOPs for each byte that its memory could move: on every card of the record, from a T4's
  generation to an H100, training a convolutional network goes with the bandwidth, not with the peak of
  the tensor cores, which differs 8 times over cards of equal bandwidth.
- PyTorch runs convolutions of fp32 in TF32 where there is such a unit, matrix products only where it is
  told to (https://docs.pytorch.org/docs/stable/notes/cuda.html, TensorFloat-32); ``tf32`` and
  ``fp32-strict`` are both settings the same way.
- Launching is the host's work: an ARM board takes three times as long as a server.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from fedsim import files, paths
from fedsim.errors import HardwareError
from fedsim.hardware import Device
from fedsim.hardware.rates import PEAK_OF
from fedsim.pricing.rates import Rates

FILE = "kinds.csv"
KINDS = ("gpu", "jetson", "arm", "apple", "x86")
_NUMBERS = ("launch_s", "conv", "matmul", "stream", "reach_32", "reach_16", "host_s", "error")
COLUMNS = ("kind", *_NUMBERS, "devices", "steps", "evidence")


@dataclass(frozen=True)
class Prior:
    """What is known of a kind.

    Attributes:
        kind: one of ``KINDS``.
        launch_s: seconds of one launch.
        conv: share of the peak of its unit that convolutions reach.
        matmul: the same for matrix products, attention's among them.
        stream: share of bandwidth that everything else reaches.
        reach_32: convolutions do at most so many FLOPs for a byte of bandwidth, with 4-byte numbers.
        reach_16: the same with 2-byte numbers; infinite where the peak alone bounds them.
        host_s: seconds of an example in scripts that were timed as a whole; in no rate of a device.
        error: multiplicative standard error of a step of a device that was left out of the fit.
        devices: the devices that it rests on.
        steps: how many timed steps of theirs.
        evidence: where each number comes from.
    """

    kind: str
    launch_s: float
    conv: float
    matmul: float
    stream: float
    reach_32: float
    reach_16: float
    host_s: float
    error: float
    devices: tuple[str, ...]
    steps: int
    evidence: str


@cache
def priors() -> Mapping[str, Prior]:
    """What is known of each kind.

    Raises:
        HardwareError: the file has a fault.
    """
    file = paths.data_dir("hardware") / FILE
    lines = files.read_text(file, HardwareError, files.MB).splitlines()
    rows = [row for row in csv.reader(line for line in lines if not line.startswith("#")) if row]
    if tuple(rows[0]) != COLUMNS or any(len(row) != len(COLUMNS) for row in rows):
        raise HardwareError(f"has other columns than {','.join(COLUMNS)}", file=file)
    found = {}
    for row in rows[1:]:
        kind, *rest = row
        values = [float(cell) if cell else math.inf for cell in rest[: len(_NUMBERS)]]
        devices, steps, evidence = rest[len(_NUMBERS) :]
        launch, conv, matmul, stream, reach_32, reach_16, host, error = values
        found[kind] = Prior(
            kind, launch, conv, matmul, stream, reach_32, reach_16, host, error,
            tuple(devices.split()), int(steps), evidence,
        )  # fmt: skip
    return found


def own_kind(device: Device) -> str:
    """The kind of a device by what its file states of it."""
    if device.backend == "cuda":
        return "jetson" if device.memory_shared else "gpu"
    if "fp32_matrix" in device.peak_flops_per_s:
        return "apple"
    return "arm" if device.family in ("raspberry-pi", "phone") else "x86"


def unit_peaks(device: Device, precision: str) -> tuple[float, float]:
    """Peaks of the units that run convolutions and matrix products in a precision, FLOP/s."""
    peaks = device.peak_flops_per_s
    if precision in ("mixed", "bf16"):
        return peaks[PEAK_OF[precision]], peaks[PEAK_OF[precision]]
    core = peaks.get("fp32_matrix", peaks["fp32"])
    tf32 = device.tf32_flops_per_s
    if tf32 is None or precision == "fp32-strict":
        return core, core
    return tf32, tf32 if precision == "tf32" else core


def prior_rates(device: Device, prior: Prior) -> dict[str, Rates]:
    """The rates of a device in every precision, if all that is known of it is its kind and datasheet."""
    return {precision: _rates(device, prior, precision) for precision in device.precisions}


def _rates(device: Device, prior: Prior, precision: str) -> Rates:
    bandwidth = device.memory_bandwidth_bytes_per_s
    conv_peak, matmul_peak = unit_peaks(device, precision)
    reach = prior.reach_16 if precision in ("mixed", "bf16") else prior.reach_32
    conv, matmul = min(prior.conv * conv_peak, reach * bandwidth), prior.matmul * matmul_peak
    return Rates(
        launch_s=prior.launch_s,
        conv_flops_per_s=conv,
        grouped_conv_flops_per_s=conv,
        matmul_flops_per_s=matmul,
        attention_flops_per_s=matmul,
        bandwidth_bytes_per_s=prior.stream * bandwidth,
    )
