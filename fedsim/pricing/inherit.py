"""Effective rates of a device that nobody timed: from a relative, or from the least of its kind.

Efficiency is what carries over from one device to another: the share of peak that a kind of
arithmetic reaches, and the share of bandwidth. On CUDA the launch time carries over as it is, since
nothing is known of the host's speed; on a CPU the cores that compute also launch, so it shrinks as
the fp32 peak grows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fedsim.hardware import Device
from fedsim.hardware.rates import PEAK_OF
from fedsim.pricing.rates import Rates

_SIXTEEN_BIT = {"mixed": "bf16", "bf16": "mixed"}


def training_peaks(device: Device) -> dict[str, float]:
    """Datasheet peak, FLOP/s, of every precision that the device trains in."""
    return {p: device.peak_flops_per_s[PEAK_OF[p]] for p in device.training_precisions}


@dataclass(frozen=True)
class Efficiency:
    """Shares of the datasheet that a device reaches in one precision."""

    conv: float
    grouped_conv: float
    matmul: float
    attention: float
    bandwidth: float
    operands: float
    optimizer: float
    launch_s: float

    @classmethod
    def of(cls, device: Device, precision: str, rates: Rates) -> Efficiency:
        """What ``rates`` are of the device's datasheet; launch time as on a CPU of 1 TFLOP/s."""
        peak = training_peaks(device)[precision]
        bandwidth = device.memory_bandwidth_bytes_per_s
        return cls(
            conv=min(rates.conv_flops_per_s / peak, 1.0),
            grouped_conv=min(rates.grouped_conv_flops_per_s / peak, 1.0),
            matmul=min(rates.matmul_flops_per_s / peak, 1.0),
            attention=min(rates.attention_flops_per_s / peak, 1.0),
            bandwidth=min(rates.bandwidth_bytes_per_s / bandwidth, 1.0),
            operands=rates.operand_bytes_per_s / bandwidth,
            optimizer=min((rates.optimizer_bytes_per_s or rates.bandwidth_bytes_per_s) / bandwidth, 1.0),
            launch_s=rates.launch_s * _launch_scale(device),
        )

    def on(self, device: Device, precision: str) -> Rates:
        """The rates of a device that reaches these shares of its own datasheet."""
        peak = training_peaks(device)[precision]
        bandwidth = device.memory_bandwidth_bytes_per_s
        return Rates(
            launch_s=self.launch_s / _launch_scale(device),
            conv_flops_per_s=self.conv * peak,
            grouped_conv_flops_per_s=self.grouped_conv * peak,
            matmul_flops_per_s=self.matmul * peak,
            attention_flops_per_s=self.attention * peak,
            bandwidth_bytes_per_s=self.bandwidth * bandwidth,
            operand_bytes_per_s=self.operands * bandwidth,
            optimizer_bytes_per_s=self.optimizer * bandwidth,
        )

    @classmethod
    def least(cls, several: Iterable[Efficiency]) -> Efficiency:
        """The lowest of each share and the longest launch time."""
        found = list(several)
        return cls(
            conv=min(e.conv for e in found),
            grouped_conv=min(e.grouped_conv for e in found),
            matmul=min(e.matmul for e in found),
            attention=min(e.attention for e in found),
            bandwidth=min(e.bandwidth for e in found),
            operands=min(e.operands for e in found),
            optimizer=min(e.optimizer for e in found),
            launch_s=max(e.launch_s for e in found),
        )


def _launch_scale(device: Device) -> float:
    """By how much faster a device launches than one of its backend with 1 TFLOP/s."""
    return device.peak_flops_per_s["fp32"] / 1e12 if device.backend == "cpu" else 1.0


def efficiencies(device: Device, rates: Mapping[str, Rates]) -> dict[str, Efficiency]:
    """The efficiency of a device in each precision whose rates are known."""
    return {p: Efficiency.of(device, p, r) for p, r in rates.items() if p in device.training_precisions}


def rates_for(device: Device, known: Mapping[str, Efficiency]) -> dict[str, Rates]:
    """The rates of a device in every precision that it trains in.

    A precision that is not known takes the efficiency of the other 16-bit one. Where that is not
    known either, it is as fast as fp32: no gain is assumed.

    Args:
        device: the device.
        known: efficiencies by precision, fp32 among them.
    """
    fp32 = known["fp32"].on(device, "fp32")
    rates = {}
    for precision in device.training_precisions:
        source = precision if precision in known else _SIXTEEN_BIT.get(precision, precision)
        rates[precision] = known[source].on(device, precision) if source in known else fp32
    return rates
