"""Filtering and sorting devices: the questions that people ask of a catalogue."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fedsim.hardware.device import Device

KEYS: dict[str, Callable[[Device], float | str]] = {
    "name": lambda d: d.name,
    "family": lambda d: d.family,
    "released": lambda d: d.released,
    "memory": lambda d: d.memory_bytes,
    "fp32": lambda d: d.peak_flops_per_s["fp32"],
    "fp16": lambda d: d.peak_flops_per_s.get("fp16", 0.0),
    "bandwidth": lambda d: d.memory_bandwidth_bytes_per_s,
    "power": lambda d: d.active_w,
}
"""What devices can be sorted by."""


@dataclass(frozen=True)
class Filter:
    """Which devices to keep; what is None or empty keeps all.

    Attributes:
        families: of these families.
        backends: of these backends.
        min_memory_bytes: with at least this much memory.
        max_memory_bytes: with at most this much.
        released_after: first sold later than this year.
        released_before: first sold earlier than this year.
        min_fp32_flops_per_s: with at least this peak in fp32.
    """

    families: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    min_memory_bytes: float | None = None
    max_memory_bytes: float | None = None
    released_after: int | None = None
    released_before: int | None = None
    min_fp32_flops_per_s: float | None = None

    def keeps(self, device: Device) -> bool:
        """Whether a device passes."""
        return (
            (not self.families or device.family in self.families)
            and (not self.backends or device.backend in self.backends)
            and (self.min_memory_bytes is None or device.memory_bytes >= self.min_memory_bytes)
            and (self.max_memory_bytes is None or device.memory_bytes <= self.max_memory_bytes)
            and (self.released_after is None or device.released > self.released_after)
            and (self.released_before is None or device.released < self.released_before)
            and (
                self.min_fp32_flops_per_s is None
                or device.peak_flops_per_s["fp32"] >= self.min_fp32_flops_per_s
            )
        )


def select(
    devices: Iterable[Device], keep: Filter, sort: Sequence[str] = ("name",), reverse: bool = False
) -> list[Device]:
    """The devices that a filter keeps, sorted.

    Args:
        devices: to choose from.
        keep: which to keep.
        sort: keys of ``KEYS``, the most important first; ties go by name.
        reverse: whether the largest comes first; ties still go by name.
    """
    found = sorted((d for d in devices if keep.keeps(d)), key=lambda d: d.name)
    for key in reversed(sort):
        found.sort(key=KEYS[key], reverse=reverse)
    return found
