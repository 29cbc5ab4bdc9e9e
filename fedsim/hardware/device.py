"""Devices: what a client computes on, as sold, each figure with its source.

A device file (``hardware/*.yaml``, or any path of a user) is read once, strictly, into a frozen
:class:`Device`. Memory capacities are what the modules hold, so a board sold as 8 GB has 8 GiB.
Peak rates count one multiply-add as two floating-point operations, dense, at the boost clock that
the vendor estimates. ``fp32`` is what ordinary cores reach; ``fp32_matrix`` what a matrix coprocessor
beside the CPU reaches (Apple's, by way of Accelerate, which PyTorch calls on macOS); ``tf32`` what
tensor cores reach with fp32 inputs rounded to 10 bits of mantissa; ``fp16`` and ``bf16`` are the fastest
path that training can use (tensor cores where there are some, with fp32 accumulation where the vendor
distinguishes).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from fedsim import paths, units
from fedsim.errors import HardwareError
from fedsim.hardware.file import HardwareFile, check_sources, read, refuse, source_of, year
from fedsim.hardware.rates import PEAK_OF, MeasuredRates, StatedRates
from fedsim.options import (
    Bandwidth,
    Clock,
    DurationOrZero,
    Energy,
    FlopRate,
    Options,
    Power,
    PowerOrZero,
    Size,
    SizeOrZero,
    Text,
    option,
)
from fedsim.words import nearest, shown

Family = Literal["raspberry-pi", "jetson", "phone", "laptop", "gpu", "host"]
FAMILIES: tuple[str, ...] = get_args(Family)
Backend = Literal["cpu", "cuda"]
PEAK_PRECISIONS = ("fp32", "fp32_matrix", "tf32", "fp16", "bf16")
StatedPrecision = Literal["fp32", "mixed", "bf16"]
Precision = Literal["fp32", "mixed", "bf16", "tf32", "fp32-strict"]
"""What is trained in: fp32 as PyTorch's defaults have it, which on NVIDIA's Ampere and later run convolutions
in TF32 and matrix products in fp32; autocast to fp16 (the paper's mixed); autocast to bfloat16; fp32 with
matrix products in TF32 as well; fp32 with nothing in TF32."""
TRAINING_PRECISIONS: tuple[str, ...] = get_args(Precision)

_BELOW = "a size below the capacity"
_PEAK = "a peak from 0.1GFLOP/s to 100PFLOP/s"
_OF_A_MODE = ("memory.bandwidth", "compute", *(f"compute.{p}" for p in PEAK_PRECISIONS), "power.active")
STATED_PRECISIONS: tuple[StatedPrecision, ...] = get_args(StatedPrecision)
_TRAINS_IN = "a list of " + ", ".join(STATED_PRECISIONS) + ", fp32 among them"


@dataclass(frozen=True)
class Growth:
    """Factors that a projection applied to a device; all 1 as sold.

    Attributes:
        compute: factor on every rate of arithmetic.
        bandwidth: factor on memory bandwidth.
        memory: factor on memory capacity.
        launch: factor on the rate at which operations are launched (launch time is divided by it).
        power: factor on what the device draws beyond its idle power.
        year: the year projected to, or None as sold.
        trend: the name of the trend, or None as sold.
        sold: the device that was projected, or None as sold.
    """

    compute: float = 1.0
    bandwidth: float = 1.0
    memory: float = 1.0
    launch: float = 1.0
    power: float = 1.0
    year: int | None = None
    trend: str | None = None
    sold: Device | None = None


@dataclass(frozen=True)
class StatedStep(Options):
    """A training step that was timed on a device, as its own file states it.

    Attributes:
        model: the name of a layer trace.
        batch_size: sequences in the batch.
        seconds: length of each, in seconds of audio.
        precision: what it was trained in.
        seconds_per_batch: what the step took.
    """

    model: Text = option(right="the name of a layer trace")
    batch_size: int = option(ge=1, le=4096, right="a whole number from 1")
    seconds: float = option(gt=0, le=3600, right="a length in seconds above 0")
    precision: StatedPrecision = option(right="one of " + ", ".join(get_args(StatedPrecision)))
    seconds_per_batch: float = option(gt=0, le=1e6, right="seconds above 0")


@dataclass(frozen=True)
class Device:
    """One device of the catalogue, or a user's own.

    Attributes:
        name: the name of its file; what scenarios call it.
        title: what people call it.
        family: one of ``FAMILIES``.
        released: year in which it was first sold.
        backend: the variant of a layer trace that it executes, ``cpu`` or ``cuda``.
        memory_bytes: capacity of the memory that training uses.
        memory_shared: whether the operating system lives in the same memory.
        memory_bandwidth_bytes_per_s: datasheet peak.
        peak_flops_per_s: datasheet peak by precision, of ``PEAK_PRECISIONS``.
        training_precisions: what its file says that it can train in: ``fp32``, ``mixed`` (fp16 autocast),
            ``bf16``; :attr:`precisions` adds the settings of fp32.
        system_bytes: memory that the operating system and its services hold.
        runtime_bytes: memory of the training process before any tensor.
        idle_w: power when on and not training.
        active_w: power while training.
        battery_j: energy of a full battery; None for mains power.
        sustained: share of its speed that it holds once hot; 1 if it does not slow down.
        throttle_after_s: seconds of full load until it slows down; None if it does not.
        relative: the device whose efficiency it inherits while nobody has measured it.
        measured_rates: effective rates measured on the device itself, if its file has them.
        measurement_files: files of timed training steps that its own file names.
        growth: what a projection did to it.
        modes: the names of its power modes, the one that its file describes first; empty if it has none.
        sources: where each figure comes from, by dotted key or section of the file.
        file: the file it was read from.
        startup_s: seconds from being asked to the first step, as sold and as its file states it; None: it
            does not; see :func:`fedsim.hardware.startup.startup`.
        steps: training steps that its own file states.
    """

    name: str
    title: str
    family: str
    released: int
    backend: str
    memory_bytes: float
    memory_shared: bool
    memory_bandwidth_bytes_per_s: float
    peak_flops_per_s: Mapping[str, float] = field(hash=False)
    training_precisions: tuple[str, ...]
    system_bytes: float
    runtime_bytes: float
    idle_w: float
    active_w: float
    battery_j: float | None
    sustained: float
    throttle_after_s: float | None
    relative: str | None
    measured_rates: MeasuredRates | None
    measurement_files: tuple[str, ...]
    growth: Growth
    sources: Mapping[str, str] = field(hash=False)
    file: str
    modes: tuple[str, ...] = ()
    startup_s: float | None = None
    steps: tuple[StatedStep, ...] = ()

    def source_of(self, figure: str) -> str:
        """The source of a figure, for example ``memory.bandwidth``."""
        return source_of(self.sources, figure) or ""

    @property
    def tf32_flops_per_s(self) -> float | None:
        """Peak in TF32: as stated, else half of its peak in bfloat16; None where there is no such unit.

        TF32 and bfloat16 came to NVIDIA's tensor cores together, with Ampere, and on every generation since
        the one runs at half the rate of the other (data sheets of A100, A40, RTX 3090 and 4090, H100, Orin).
        """
        if self.backend != "cuda" or "bf16" not in self.peak_flops_per_s:
            return None
        peaks = self.peak_flops_per_s
        return max(peaks.get("tf32", peaks["bf16"] / 2), peaks["fp32"])

    @property
    def precisions(self) -> tuple[str, ...]:
        """Every precision that it trains in: those of its file, TF32 where it has it, and strict fp32."""
        tf32 = ("tf32",) if self.tf32_flops_per_s is not None else ()
        return (*self.training_precisions, *tf32, "fp32-strict")

    @property
    def estimated(self) -> tuple[str, ...]:
        """The figures or sections whose source says that they are estimated."""
        return tuple(key for key, source in self.sources.items() if "estimated" in source.lower())


def device_names() -> list[str]:
    """The names of the catalogue, sorted."""
    return paths.names("hardware", ".yaml")


def load_device(name_or_path: str) -> Device:
    """Read a device by catalogue name, by catalogue name and power mode (``NAME@MODE``), or by path.

    Raises:
        HardwareError: if there is no such device or mode, or its file has a fault.
    """
    path = paths.find(name_or_path, "hardware", ".yaml")
    if path is None:
        name, at, mode = name_or_path.rpartition("@")
        if at and name in device_names():
            return _in_mode(paths.data_dir("hardware") / f"{name}.yaml", mode)
        raise HardwareError(f"there is no device {name_or_path!r}; {nearest(name_or_path, device_names())}")
    return _read(path)


def catalogue() -> list[Device]:
    """Every device of the catalogue, by name."""
    return [load_device(name) for name in device_names()]


@dataclass(frozen=True)
class _Memory(Options):
    capacity: Size = option(ge=64 * units.MIB, le=16 * units.TIB, right="a size from 64MiB to 16TiB")
    shared: bool = option(right="true or false")
    bandwidth: Bandwidth = option(ge=1e8, le=1e14, right="a rate from 0.1GB/s to 100TB/s")
    system: SizeOrZero = option(right=_BELOW)
    runtime: Size = option(right=_BELOW)


@dataclass(frozen=True, kw_only=True)
class _Compute(Options):
    fp32: FlopRate = option(ge=1e8, le=1e17, right=_PEAK)
    fp32_matrix: FlopRate | None = option(None, "of a CPU's matrix coprocessor", ge=1e8, le=1e17, right=_PEAK)
    tf32: FlopRate | None = option(None, "dense, of tensor cores", ge=1e8, le=1e17, right=_PEAK)
    fp16: FlopRate | None = option(None, ge=1e8, le=1e17, right=_PEAK)
    bf16: FlopRate | None = option(None, ge=1e8, le=1e17, right=_PEAK)
    trains_in: tuple[StatedPrecision, ...] = option(right=_TRAINS_IN)


@dataclass(frozen=True)
class _Power(Options):
    idle: PowerOrZero = option(le=1e5, right="a power from 0W to 100kW")
    active: Power = option(ge=1e-3, le=1e5, right="a power from 1mW to 100kW")
    battery: Energy | None = option(None, ge=1.0, le=1e9, right="an energy from 1J to 1GJ, such as 17Wh")


@dataclass(frozen=True)
class _Thermal(Options):
    sustained: float = option(
        ge=0.05, le=1.0, right="the share of its speed held once hot, from 0.05 to 1 (the peak itself)"
    )
    throttle_after: DurationOrZero = option(le=units.DAY_S, right="a duration from 0s to 1d")


@dataclass(frozen=True, kw_only=True)
class _Mode(Options):
    """A power mode: what a board draws, and which of its GPU runs how fast."""

    active: Power = option(ge=1e-3, le=1e5, right="a power from 1mW to 100kW")
    clock: Clock = option(ge=1e7, le=1e10, right="a clock from 10MHz to 10GHz")
    cores: int = option(ge=1, le=1_000_000, right="a number of CUDA cores from 1 to 1000000")
    bandwidth: Bandwidth | None = option(
        None, "if its memory is slower", ge=1e8, le=1e14, right="a rate from 0.1GB/s to 100TB/s"
    )

    @property
    def flops_per_s(self) -> float:
        """Its fp32 peak: one multiply-add, 2 FLOP, per core and cycle."""
        return 2.0 * self.cores * self.clock


@dataclass(frozen=True, kw_only=True)
class _File(HardwareFile):
    """A device as its file states it."""

    family: Family = option(right="one of " + ", ".join(FAMILIES))
    released: int = year()
    backend: Backend = option(right="one of " + ", ".join(get_args(Backend)))
    memory: _Memory = option(description="what training uses")
    compute: _Compute = option(description="peaks, and what it trains in")
    power: _Power = option(description="what it draws")
    thermal: _Thermal | None = option(None, "leave out if it does not slow down")
    startup: DurationOrZero | None = option(
        None, "from being asked to the first step", le=units.HOUR_S, right="a duration from 0s to 1h"
    )
    relative: Text | None = option(None, right="the name of a device")
    measurements: Text | None = option(None, right="a CSV file beside this one")
    rates: StatedRates | None = option(None, "effective rates measured on it")
    steps: tuple[StatedStep, ...] = option((), "training steps timed on it")
    versions: dict[Text, Text] = option(factory=dict, description="of what ran when it was measured")
    modes: dict[Text, _Mode] = option(
        factory=dict, description="power modes by name, first the one that the rest of the file describes"
    )

    def figures(self) -> list[str]:
        """The dotted keys of the figures that need a source."""
        blocks = ("memory", "compute", "power", "thermal")
        inside = [(name, vars(block)) for name in blocks if (block := getattr(self, name)) is not None]
        found = [f"{name}.{key}" for name, keys in inside for key, value in keys.items() if value is not None]
        plain = ("memory.shared", "compute.trains_in")
        rates = ["rates"] if self.rates is not None else []
        modes = ["modes"] if self.modes else []
        steps = ["steps"] if self.steps else []
        startup = ["startup"] if self.startup is not None else []
        return [
            "released",
            *(figure for figure in found if figure not in plain),
            *startup,
            *rates,
            *steps,
            *modes,
        ]


def _in_mode(path: Path, name: str) -> Device:
    """The device of a file in one of its power modes; it has the efficiency of the device itself."""
    modes, device = read(_File, path).modes, _read(path)
    if name not in modes:
        known = f"give one of {', '.join(modes)}" if modes else "it has none"
        raise HardwareError(f"{device.name} has no power mode {name!r}; {known}")
    first, mode = next(iter(modes.values())), modes[name]
    share = mode.flops_per_s / first.flops_per_s
    return replace(
        device,
        name=f"{device.name}@{name}",
        title=f"{device.title}, {name}",
        memory_bandwidth_bytes_per_s=mode.bandwidth or device.memory_bandwidth_bytes_per_s,
        peak_flops_per_s={p: peak * share for p, peak in device.peak_flops_per_s.items()},
        active_w=mode.active,
        relative=device.name,
        measured_rates=None,
        measurement_files=(),
        steps=(),
        sources=dict(device.sources) | dict.fromkeys(_OF_A_MODE, device.sources["modes"]),
        modes=(),
    )


def _check_modes(path: Path, stated: _File) -> None:
    """Refuse modes that contradict the rest of the file."""
    for number, (name, mode) in enumerate(stated.modes.items()):
        if mode.active < stated.power.idle:
            less = f"is {mode.active:g} W, below the {stated.power.idle:g} W of power.idle; give more"
            refuse(path, f"modes.{name}.active", less)
        if mode.bandwidth is not None and mode.bandwidth > stated.memory.bandwidth:
            refuse(path, f"modes.{name}.bandwidth", "is above memory.bandwidth; give a rate up to it")
        peak = f"{units.format_flops(mode.flops_per_s)}/s, cores x clock x 2 FLOP"
        if number == 0 and not 0.98 <= mode.flops_per_s / stated.compute.fp32 <= 1.02:
            refuse(path, f"modes.{name}", f"comes to {peak}; give the mode that compute.fp32 states")
        if number == 0 and mode.active != stated.power.active:
            refuse(path, f"modes.{name}.active", "differs from power.active; give the same power")
        if mode.flops_per_s > stated.compute.fp32 * 1.02:
            refuse(path, f"modes.{name}", f"comes to {peak}, above compute.fp32; give the fastest mode first")


def _read(path: Path) -> Device:
    stated = read(_File, path)
    memory, power, thermal, rates = stated.memory, stated.power, stated.thermal, stated.rates
    if memory.system + memory.runtime >= memory.capacity:
        system, runtime, most = map(units.format_bytes, (memory.system, memory.runtime, memory.capacity))
        left = f"leaves nothing to train in: {system} and runtime {runtime} reach the capacity of {most}"
        refuse(path, "memory.system", left)
    peaks = {p: peak for p in PEAK_PRECISIONS if (peak := getattr(stated.compute, p)) is not None}
    precisions = _training_precisions(path, stated.compute.trains_in, peaks)
    if power.idle > power.active:
        less = f"is {power.idle:g} W, above the {power.active:g} W of power.active; give less"
        refuse(path, "power.idle", less)
    if rates is not None:
        if (fault := rates.above(peaks, memory.bandwidth)) is not None:
            refuse(path, f"rates.{fault[0]}", fault[1])
        for precision in precisions:
            if getattr(rates, precision) is None:
                named = f"is missing, and compute.trains_in names {precision}; give its rates"
                refuse(path, f"rates.{precision}", named)
    _check_modes(path, stated)
    check_sources(path, stated.sources, stated.figures())
    return Device(
        name=path.stem,
        title=stated.title,
        family=stated.family,
        released=stated.released,
        backend=stated.backend,
        memory_bytes=memory.capacity,
        memory_shared=memory.shared,
        memory_bandwidth_bytes_per_s=memory.bandwidth,
        peak_flops_per_s=peaks,
        training_precisions=precisions,
        system_bytes=memory.system,
        runtime_bytes=memory.runtime,
        idle_w=power.idle,
        active_w=power.active,
        battery_j=power.battery,
        sustained=1.0 if thermal is None else thermal.sustained,
        throttle_after_s=None if thermal is None else thermal.throttle_after,
        relative=None if stated.relative is None else _relative(path, stated.relative),
        measured_rates=None if rates is None else rates.measured(),
        measurement_files=() if stated.measurements is None else (_measurements(path, stated.measurements),),
        growth=Growth(),
        sources=stated.sources,
        file=str(path),
        modes=tuple(stated.modes),
        startup_s=stated.startup,
        steps=stated.steps,
    )


def _relative(path: Path, name: str) -> str:
    """The device that a file names: of the catalogue, or a file beside it."""
    if name == path.stem:
        refuse(path, "relative", f"is {name!r}, the device itself; name another device")
    beside = path.parent / name
    if not paths.is_file(beside):
        beside = Path(name)
    if not paths.is_file(beside):
        return name
    if not _is_beside(beside, path):
        refuse(path, "relative", f"is {name!r}, a file that does not lie beside this one")
    return str(beside)


def _measurements(path: Path, name: str) -> str:
    """The file of timed steps that a device file names."""
    beside = path.parent / name
    if not paths.is_file(beside) or not _is_beside(beside, path):
        refuse(path, "measurements", f"is {name!r}, and there is no such file beside this one")
    return str(beside)


def _is_beside(file: Path, path: Path) -> bool:
    """Whether a file lies in the folder of ``path`` or below it, links followed."""
    return file.resolve().is_relative_to(path.resolve().parent)


def _training_precisions(
    path: Path, names: tuple[StatedPrecision, ...], peaks: Mapping[str, float]
) -> tuple[str, ...]:
    if "fp32" not in names or len(set(names)) < len(names):
        refuse(path, "compute.trains_in", f"is {shown(list(names))}; give {_TRAINS_IN}")
    for precision in names:
        if (peak := PEAK_OF[precision]) not in peaks:
            said = f"names {precision}, but compute.{peak} is not given; give that peak"
            refuse(path, "compute.trains_in", said)
    return tuple(p for p in STATED_PRECISIONS if p in names)
