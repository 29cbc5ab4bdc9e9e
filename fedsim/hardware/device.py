"""Devices: what a client computes on, as sold, each figure with its source.

A device file (``hardware/*.yaml``, or any path of a user) is read once, strictly, into a frozen
:class:`Device`. Memory capacities are what the modules hold, so a board sold as 8 GB has 8 GiB.
Peak rates count one multiply-add as two floating-point operations, dense, at the boost clock that
the vendor estimates; ``fp16`` and ``bf16`` are the fastest path that training can use (tensor cores
where there are some, with fp32 accumulation where the vendor distinguishes).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from fedsim import paths, units
from fedsim.errors import HardwareError
from fedsim.hardware import section
from fedsim.hardware.rates import MeasuredRates, read_rates
from fedsim.words import shown

FAMILIES = ("raspberry-pi", "jetson", "phone", "laptop", "gpu", "host")
BACKENDS = ("cpu", "cuda")
PEAK_PRECISIONS = ("fp32", "fp16", "bf16")
Precision = Literal["fp32", "mixed", "bf16"]
"""What is trained in: fp32 throughout; autocast to fp16 (the paper's mixed); autocast to bfloat16."""
TRAINING_PRECISIONS: tuple[str, ...] = get_args(Precision)


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
        peak_flops_per_s: datasheet peak by precision (``fp32``, ``fp16``, ``bf16``).
        training_precisions: what it can train in: ``fp32``, ``mixed`` (fp16 autocast), ``bf16``.
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
        sources: where each figure comes from, by dotted key or section of the file.
        file: the file it was read from.
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

    def source_of(self, figure: str) -> str:
        """The source of a figure, for example ``memory.bandwidth``."""
        return section.source_of(self.sources, figure) or ""

    @property
    def estimated(self) -> tuple[str, ...]:
        """The figures or sections whose source says that they are estimated."""
        return tuple(key for key, source in self.sources.items() if "estimated" in source.lower())


def device_names() -> list[str]:
    """The names of the catalogue, sorted."""
    return paths.names("hardware", ".yaml")


def load_device(name_or_path: str) -> Device:
    """Read a device by catalogue name or by path.

    Raises:
        HardwareError: if there is no such device, or its file has a fault.
    """
    path = paths.find(name_or_path, "hardware", ".yaml")
    if path is None:
        raise HardwareError(
            f"there is no device {name_or_path!r}" + section.close_matches(name_or_path, device_names())
        )
    return _read(path)


def catalogue() -> list[Device]:
    """Every device of the catalogue, by name."""
    return [load_device(name) for name in device_names()]


def _read(path: Path) -> Device:
    root = section.load(path)
    title = root.text("title", "what people call the device")
    family = root.choice("family", FAMILIES)
    released = root.year("released")
    backend = root.choice("backend", BACKENDS)

    memory = root.section("memory", "capacity, shared, bandwidth, system and runtime")
    memory_bytes = memory.quantity(
        "capacity", units.parse_bytes, 64 * units.MIB, 16 * units.TIB, "a size from 64MiB to 16TiB"
    )
    shared = memory.flag("shared")
    bandwidth = memory.quantity(
        "bandwidth", units.parse_bytes_per_s, 1e8, 1e14, "a rate from 0.1GB/s to 100TB/s"
    )
    right = "a size below the capacity"
    system = memory.quantity("system", units.parse_bytes, 0.0, memory_bytes, right)
    runtime = memory.quantity("runtime", units.parse_bytes, 1.0, memory_bytes, right)
    if system + runtime >= memory_bytes:
        memory.fail(
            f"leaves nothing to train in: {units.format_bytes(system)} and runtime "
            f"{units.format_bytes(runtime)} reach the capacity of {units.format_bytes(memory_bytes)}",
            "system",
        )
    memory.close()

    compute = root.section("compute", "fp32 and, where the device has them, fp16 and bf16")
    peaks = {
        precision: compute.quantity(
            precision, units.parse_flops_per_s, 1e8, 1e17, "a peak from 0.1GFLOP/s to 100PFLOP/s"
        )
        for precision in PEAK_PRECISIONS
        if precision == "fp32" or compute.has(precision)
    }
    precisions = _training_precisions(compute, peaks)
    compute.close()

    power = root.section("power", "idle and active, and battery if it has one")
    idle = power.quantity("idle", units.parse_w, 0.0, 1e5, "a power from 0W to 100kW")
    active = power.quantity("active", units.parse_w, 1e-3, 1e5, "a power from 1mW to 100kW")
    if idle > active:
        power.fail(f"is {idle:g} W, above the {active:g} W of power.active; give less", "idle")
    battery = (
        power.quantity("battery", units.parse_j, 1.0, 1e9, "an energy from 1J to 1GJ, such as 17Wh")
        if power.has("battery")
        else None
    )
    power.close()

    sustained, throttle_after = 1.0, None
    if root.has("thermal"):
        thermal = root.section("thermal", "sustained and throttle_after")
        sustained = thermal.number(
            "sustained", 0.05, 1.0, "the share of its speed held once hot, from 0.05 to 1 (the peak itself)"
        )
        throttle_after = thermal.quantity(
            "throttle_after", units.parse_duration_s, 0.0, units.DAY_S, "a duration from 0s to 1d"
        )
        thermal.close()

    relative = _relative(root, path) if root.has("relative") else None
    if relative == path.stem:
        root.fail(f"is {relative!r}, the device itself; name another device", "relative")
    files: tuple[str, ...] = ()
    if root.has("measurements"):
        name = root.text("measurements", "a CSV file beside this one")
        beside = path.parent / name
        if not paths.is_file(beside) or not _is_beside(beside, path):
            root.fail(f"is {name!r}, and there is no such file beside this one", "measurements")
        files = (str(beside),)
    rates = None
    if root.has("rates"):
        stated = root.section("rates", "effective rates")
        rates = read_rates(stated, peaks, bandwidth)
        for precision in precisions:
            if precision not in rates.flops_per_s:
                stated.fail(f"is missing, and compute.trains_in names {precision}; give its rates", precision)

    figures = ["released", "memory.capacity", "memory.bandwidth", "memory.system", "memory.runtime"]
    figures += [f"compute.{precision}" for precision in peaks]
    figures += ["power.idle", "power.active"]
    figures += ["power.battery"] if battery is not None else []
    figures += ["thermal.sustained", "thermal.throttle_after"] if root.has("thermal") else []
    figures += ["rates"] if rates is not None else []
    sources = section.read_sources(root, figures)
    root.close()
    return Device(
        name=path.stem,
        title=title,
        family=family,
        released=released,
        backend=backend,
        memory_bytes=memory_bytes,
        memory_shared=shared,
        memory_bandwidth_bytes_per_s=bandwidth,
        peak_flops_per_s=peaks,
        training_precisions=precisions,
        system_bytes=system,
        runtime_bytes=runtime,
        idle_w=idle,
        active_w=active,
        battery_j=battery,
        sustained=sustained,
        throttle_after_s=throttle_after,
        relative=relative,
        measured_rates=rates,
        measurement_files=files,
        growth=Growth(),
        sources=sources,
        file=str(path),
    )


def _relative(root: section.Section, path: Path) -> str:
    """The device that a file names: of the catalogue, or a file beside it."""
    name = root.text("relative", "the name of a device")
    beside = path.parent / name
    if not paths.is_file(beside):
        beside = Path(name)
    if not paths.is_file(beside):
        return name
    if not _is_beside(beside, path):
        root.fail(f"is {name!r}, a file that does not lie beside this one", "relative")
    return str(beside)


def _is_beside(file: Path, path: Path) -> bool:
    """Whether a file lies in the folder of ``path`` or below it, links followed."""
    return file.resolve().is_relative_to(path.resolve().parent)


def _training_precisions(compute: section.Section, peaks: Mapping[str, float]) -> tuple[str, ...]:
    right = "a list of " + ", ".join(TRAINING_PRECISIONS) + ", fp32 among them"
    value = compute.get("trains_in", right)
    if (
        not isinstance(value, list)
        or "fp32" not in value
        or len(set(map(str, value))) != len(value)
        or not set(map(str, value)) <= set(TRAINING_PRECISIONS)
    ):
        compute.fail(f"is {shown(value)}; give {right}", "trains_in")
    for training, peak in (("mixed", "fp16"), ("bf16", "bf16")):
        if training in value and peak not in peaks:
            compute.fail(f"names {training}, but compute.{peak} is not given; give that peak", "trains_in")
    return tuple(p for p in TRAINING_PRECISIONS if p in value)
