"""Growth trends, and what a device becomes in a later year.

A trend (``hardware/trends/*.yaml``) is a doubling time for each of compute, memory capacity,
memory bandwidth, launch rate and links. Whatever has a doubling time of T years is multiplied by
2**(years / T), with years counted from the trend's own year (``counted_from: 2022``: the year of
the measurements it extrapolates), or from the year in which the device was released
(``counted_from: release``). No device is projected to a year before it was sold.

A trend may also say how often the FLOP that a joule buys double (``energy``). What a device draws
beyond its idle power then grows by compute over energy: a chip that computes 4 times as much at
half the energy a FLOP draws twice as much. Without ``energy`` power stays as it is. The bytes that
the system holds, idle power and batteries stay in any case.

``range`` gives, for any figure, the shortest and the longest doubling time that are believed, for
those who draw growth at random (:mod:`fedsim.hardware.trend_draws`); ``together`` names figures that
share one draw. A projection uses the doubling times themselves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from fedsim import paths
from fedsim.errors import HardwareError
from fedsim.hardware import section, trend_range
from fedsim.hardware.device import Device, Growth
from fedsim.hardware.link import Link

FIGURES = ("compute", "memory", "bandwidth", "launch", "links")
OPTIONAL = ("energy",)


@dataclass(frozen=True)
class Trend:
    """Doubling times, in years; infinite for what does not grow.

    Attributes:
        name: the name of its file; what scenarios call it.
        title: what people call it.
        counted_from: the year from which growth counts; None for the device's own release.
        doubling_years: by ``compute``, ``memory``, ``bandwidth``, ``launch`` and ``links``, and
            ``energy`` if the trend says anything of it.
        sources: where each doubling time comes from.
        file: the file it was read from.
        range_years: shortest and longest doubling time by figure, for those that have a range.
        together: figures that share one draw.
    """

    name: str
    title: str
    counted_from: int | None
    doubling_years: Mapping[str, float] = field(hash=False)
    sources: Mapping[str, str] = field(hash=False)
    file: str
    range_years: Mapping[str, tuple[float, float]] = field(default_factory=dict, hash=False)
    together: tuple[str, ...] = ()

    def start(self, released: int) -> int:
        """The year from which a device of ``released`` grows."""
        return released if self.counted_from is None else max(released, self.counted_from)

    def power_factor(self, years: float) -> float:
        """The growth over ``years`` of what a device draws beyond its idle power."""
        if "energy" not in self.doubling_years:
            return 1.0
        return self.factor("compute", years) / self.factor("energy", years)

    def factor(self, figure: str, years: float) -> float:
        """The growth of ``figure`` over ``years``: 2**(years / doubling time)."""
        return float(2.0 ** (years / self.doubling_years[figure]))


def trend_names() -> list[str]:
    """The names of the catalogue of trends, sorted."""
    return paths.names("hardware/trends", ".yaml")


def load_trend(name_or_path: str) -> Trend:
    """Read a trend by catalogue name or by path.

    Raises:
        HardwareError: if there is no such trend, or its file has a fault.
    """
    path = paths.find(name_or_path, "hardware/trends", ".yaml")
    if path is None:
        raise HardwareError(
            f"there is no trend {name_or_path!r}" + section.close_matches(name_or_path, trend_names())
        )
    root = section.load(path)
    title = root.text("title", "what people call the trend")
    right = "a year from 2005 to 2035, or release"
    start = root.get("counted_from", right)
    counted_from = None if start == "release" else root.year("counted_from")
    doubling = root.section("doubling_years", "years to double, or never, for " + ", ".join(FIGURES))
    years = {figure: _doubling(doubling, figure) for figure in FIGURES}
    years |= {figure: _doubling(doubling, figure) for figure in OPTIONAL if doubling.has(figure)}
    doubling.close()
    ranges = trend_range.read_ranges(root, years)
    together = trend_range.read_together(root, ranges)
    figures = ["counted_from", *(f"doubling_years.{figure}" for figure in years)]
    sources = section.read_sources(root, [*figures, *(f"range.{figure}" for figure in ranges)])
    root.close()
    return Trend(path.stem, title, counted_from, years, sources, str(path), ranges, together)


def _doubling(doubling: section.Section, figure: str) -> float:
    if doubling.has(figure) and doubling.data[figure] == "never":
        return math.inf
    return doubling.number(figure, 0.1, 1000.0, "a number of years from 0.1 to 1000, or never")


def project(device: Device, year: int, trend: Trend) -> Device:
    """The device of ``year``: what ``trend`` makes of the one that was sold.

    Peak rates, bandwidth, memory and power are scaled, and the factors are recorded in ``growth`` so
    that calibrated rates can be scaled alike.

    Args:
        device: a device as sold.
        year: the year to project to.
        trend: the growth to assume.

    Raises:
        HardwareError: if the device is a projection already, or the year lies before its release
            or before the trend's own first year.
    """
    if device.growth.year is not None:
        raise HardwareError(
            f"{device.name} is already projected to {device.growth.year}; project the device as sold",
            file=device.file,
        )
    years = _years(year, trend, device.name, device.released, device.file)
    growth = Growth(
        compute=trend.factor("compute", years),
        bandwidth=trend.factor("bandwidth", years),
        memory=trend.factor("memory", years),
        launch=trend.factor("launch", years),
        power=trend.power_factor(years),
        year=year,
        trend=trend.name,
        sold=device,
    )
    return replace(
        device,
        active_w=device.idle_w + (device.active_w - device.idle_w) * growth.power,
        memory_bytes=device.memory_bytes * growth.memory,
        memory_bandwidth_bytes_per_s=device.memory_bandwidth_bytes_per_s * growth.bandwidth,
        peak_flops_per_s={p: rate * growth.compute for p, rate in device.peak_flops_per_s.items()},
        growth=growth,
    )


def project_link(link: Link, year: int, trend: Trend) -> Link:
    """The link of ``year``: both rates scaled, counted from the year its rates are typical for.

    Raises:
        HardwareError: if the year lies before the link's or the trend's own first year.
    """
    years = _years(year, trend, link.name, link.year, link.file)
    factor = trend.factor("links", years)
    return replace(
        link, down_bytes_per_s=link.down_bytes_per_s * factor, up_bytes_per_s=link.up_bytes_per_s * factor
    )


def _years(year: int, trend: Trend, name: str, released: int, file: str) -> float:
    """Years of growth: since release, or since the trend's year if that is later."""
    start = trend.start(released)
    if year < start:
        why = f"{name} is of {released}" if start == released else f"the trend {trend.name} starts in {start}"
        raise HardwareError(f"cannot be projected to {year}: {why}; give {start} or later", file=file)
    return float(year - start)
