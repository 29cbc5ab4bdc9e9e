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
from pathlib import Path
from typing import Annotated, Literal

from fedsim import paths
from fedsim.errors import HardwareError
from fedsim.hardware.device import Device, Growth
from fedsim.hardware.file import HardwareFile, check_sources, read, refuse
from fedsim.hardware.link import Link
from fedsim.options import Bounds, Doubling, Options, option
from fedsim.words import nearest, shown

_YEARS = "a number of years from 0.1 to 1000, or never"
_RANGE = "two numbers of years from 0.1 to 1000"
_TOGETHER = "a list of two or more figures that have a range"


@dataclass(frozen=True)
class _DoublingYears(Options):
    """Years to double."""

    compute: Doubling = option(ge=0.1, right=_YEARS)
    memory: Doubling = option(ge=0.1, right=_YEARS)
    bandwidth: Doubling = option(ge=0.1, right=_YEARS)
    launch: Doubling = option(ge=0.1, right=_YEARS)
    links: Doubling = option(ge=0.1, right=_YEARS)
    energy: Doubling | None = option(None, ge=0.1, right=_YEARS)


@dataclass(frozen=True)
class _Range(Options):
    """The shortest and the longest doubling time that are believed."""

    compute: tuple[float, float] | None = option(None, right=_RANGE)
    memory: tuple[float, float] | None = option(None, right=_RANGE)
    bandwidth: tuple[float, float] | None = option(None, right=_RANGE)
    launch: tuple[float, float] | None = option(None, right=_RANGE)
    links: tuple[float, float] | None = option(None, right=_RANGE)
    energy: tuple[float, float] | None = option(None, right=_RANGE)


@dataclass(frozen=True, kw_only=True)
class _File(HardwareFile):
    """A trend as its file states it."""

    counted_from: Annotated[int, Bounds(ge=2005, le=2035)] | Literal["release"] = option(
        right="a year from 2005 to 2035, or release"
    )
    doubling_years: _DoublingYears = option(description="for each figure")
    range: _Range = option(factory=_Range)
    together: tuple[str, ...] = option((), right=_TOGETHER)


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
        raise HardwareError(f"there is no trend {name_or_path!r}; {nearest(name_or_path, trend_names())}")
    stated = read(_File, path)
    years = {figure: t for figure, t in vars(stated.doubling_years).items() if t is not None}
    ranges = {figure: r for figure, r in vars(stated.range).items() if r is not None}
    for figure, (low, high) in ranges.items():
        if math.isinf(best := years.get(figure, math.inf)):
            why = "says that it never doubles" if figure in years else "says nothing of it"
            refuse(path, f"range.{figure}", f"has a range, but doubling_years {why}")
        if not 0.1 <= low <= best <= high <= 1000.0:
            right = f"{_RANGE} with {best:g} between them"
            refuse(path, f"range.{figure}", f"is [{low:g}, {high:g}]; give {right}")
    _check_together(path, stated.together, list(ranges))
    figures = ["counted_from", *(f"doubling_years.{figure}" for figure in years)]
    check_sources(path, stated.sources, [*figures, *(f"range.{figure}" for figure in ranges)])
    return Trend(
        name=path.stem,
        title=stated.title,
        counted_from=None if stated.counted_from == "release" else stated.counted_from,
        doubling_years=years,
        sources=stated.sources,
        file=str(path),
        range_years=ranges,
        together=stated.together,
    )


def _check_together(path: Path, together: tuple[str, ...], ranges: list[str]) -> None:
    if together and len(set(together)) < max(len(together), 2):
        refuse(path, "together", f"is {shown(list(together))}; give {_TOGETHER}")
    for figure in together:
        if figure not in ranges:
            known = ", ".join(ranges) or "none has one"
            refuse(path, "together", f"names {figure!r}; give figures that have a range: {known}")


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
