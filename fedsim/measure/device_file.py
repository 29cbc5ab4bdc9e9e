"""Writes what was measured: a device file that fedsim reads like any other, and the raw times.

Rates are rounded down and peaks up, so that no rate exceeds its peak. Both files are written beside
their place and moved there whole, the device file after it has been read back once.
"""

from __future__ import annotations

import csv
import io
import json
import math
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedsim import files, hardware
from fedsim.errors import HardwareError
from fedsim.hardware.device import PEAK_PRECISIONS, StatedStep
from fedsim.hardware.rates import KINDS, PEAK_OF
from fedsim.measure.host import Host, backend_of
from fedsim.measure.rates import HostRates, Probes
from fedsim.measure.startup import RUNS
from fedsim.measure.timing import Timed
from fedsim.version import __version__
from fedsim.words import plural

COLUMNS = (
    "precision",
    "batch",
    "seconds",
    "phase",
    "kind",
    "operator",
    "shapes",
    "count",
    "flops",
    "moved_bytes",
    "runs",
    "median_s",
    "best_s",
)
_DIGITS = 4
_ROOM_BYTES = 1_000_000
"""What a device file and its raw times need at most."""


@dataclass(frozen=True)
class Circumstances:
    """When and how it was measured; ``date`` as 2026-01-31, ``clock`` as a stopwatch says."""

    device: str
    date: str
    torch: str
    transformers: str
    threads: int
    clock: str
    model: str
    settings: str

    @property
    def source(self) -> str:
        """The sentence that stands as the source of what was measured."""
        where = {"cuda": "CUDA", "mps": "Metal (MPS)"}.get(self.device) or plural(self.threads, "thread")
        return f"measured by fedsim calibrate on {self.date}, torch {self.torch}, {where}, {self.clock}"


def raw_path(out: Path) -> Path:
    """Where the raw times of a device file go."""
    return out.with_name(f"{out.stem}-operators.csv")


def check_writable(out: Path, share: Path | None = None) -> None:
    """Refuse a place that cannot be written, or has no room, before anything is measured.

    Args:
        out: of the device file; the raw times go beside it.
        share: of the file to contribute, if there is to be one.

    Raises:
        HardwareError: in one sentence.
    """
    _check_place(out, raw_path(out))
    if share is not None:
        if share.absolute() == out.absolute():
            raise HardwareError("is the place of --out as well; give another name", file=share)
        _check_place(share)


def _check_place(out: Path, *beside: Path) -> None:
    if out.suffix != ".yaml" or out.stem.startswith("."):
        raise HardwareError("is not a name for a device file; give one that ends in .yaml", file=out)
    folder = out.parent
    if not folder.is_dir():
        raise HardwareError(f"cannot be written: there is no folder {str(folder)!r}", file=out)
    if out.is_dir():
        raise HardwareError("cannot be written: it is a folder; give the name of a file", file=out)
    try:
        files.try_to_write(out, _ROOM_BYTES)
        for path in beside:
            files.try_to_write(path)
    except OSError as error:
        raise HardwareError(f"cannot be written ({error.strerror}); give another place", file=out) from None


def write(
    out: Path, host: Host, rates: HostRates, probes: Probes, timed: Sequence[Timed], when: Circumstances
) -> tuple[Path, Path]:
    """Write the device file and the raw times beside it; returns both paths.

    Raises:
        HardwareError: if the disk refuses.
    """
    check_writable(out)
    raw = raw_path(out)
    try:
        with files.replacing(out) as draft, files.replacing(raw) as raw_draft:
            raw_draft.write_text(_csv(timed, probes, when), encoding="utf-8")
            draft.write_text(as_yaml(host, rates, when, raw.name), encoding="utf-8")
            hardware.load_device(str(draft))
    except OSError as error:
        raise HardwareError(f"cannot be written ({error.strerror})", file=out) from None
    return out, raw


def write_share(
    share: Path, host: Host, rates: HostRates, when: Circumstances, steps: Sequence[StatedStep]
) -> Path:
    """Write the one file to contribute: the device file, with steps and versions; returns its path.

    It names neither the machine nor its user, and no file.

    Raises:
        HardwareError: if the disk refuses.
    """
    try:
        with files.replacing(share) as draft:
            draft.write_text(as_yaml(host, rates, when, steps=steps), encoding="utf-8")
            hardware.load_device(str(draft))
    except OSError as error:
        raise HardwareError(f"cannot be written ({error.strerror})", file=share) from None
    return share


def as_yaml(
    host: Host,
    rates: HostRates,
    when: Circumstances,
    raw: str | None = None,
    steps: Sequence[StatedStep] | None = None,
) -> str:
    """The text of the device file.

    Args:
        host: the machine.
        rates: what it achieves.
        when: how it was measured.
        raw: the name of the file with the raw times, if there is one beside it.
        steps: that were timed; with them go the versions of what ran.
    """
    measured = f"{when.source}; medians over the operators of {when.model} at {when.settings}"
    measured += f" ({raw})" if raw else ""
    best = f"{when.source}: the best rate seen, not a datasheet's"
    peaks = {PEAK_OF[p]: v for p, v in rates.peak_flops_per_s.items()}
    power = "estimated: no meter is read; give what yours draws"
    started = (
        f"measured by fedsim calibrate on {when.date}, torch {when.torch}, transformers {when.transformers}, "
        f"wall time, median of {RUNS} processes that import them and make {when.model} and a batch"
    )
    reporter = "driver" if when.device == "cuda" else "system"
    content: dict[str, object] = {
        "title": host.title,
        "family": "host",
        "released": int(when.date[:4]),
        "backend": backend_of(when.device),
        **({} if host.startup_s is None else {"startup": f"{host.startup_s:.3g}s"}),
        "memory": {
            "capacity": f"{host.memory_bytes}B",
            "shared": host.memory_shared,
            "bandwidth": _rounded(rates.peak_bandwidth_bytes_per_s, 1e9, "GB/s", math.ceil),
            "system": f"{host.system_bytes}B",
            "runtime": f"{host.runtime_bytes}B",
        },
        "compute": {
            **{p: _rounded(peaks[p], 1e9, "GFLOP/s", math.ceil) for p in PEAK_PRECISIONS if p in peaks},
            "trains_in": list(host.precisions),
        },
        "power": {"idle": f"{host.idle_w:g}W", "active": f"{host.active_w:g}W"},
        "rates": {
            "launch": _rounded(rates.launch_s, 1e-6, "us", math.ceil),
            "bandwidth": _rounded(rates.bandwidth_bytes_per_s, 1e9, "GB/s", math.floor),
            "optimizer": _rounded(rates.optimizer_bytes_per_s, 1e9, "GB/s", math.floor),
            **{
                precision: {kind: _rounded(kinds[kind], 1e9, "GFLOP/s", math.floor) for kind in KINDS}
                for precision, kinds in rates.flops_per_s.items()
            },
        },
        "sources": {
            "released": "estimated: the year in which it was measured",
            **({} if host.startup_s is None else {"startup": started}),
            "memory.capacity": f"{when.source}: what the {reporter} reports",
            "memory.bandwidth": best,
            "memory.system": f"{when.source}: held by other programs and the system at that moment",
            "memory.runtime": f"{when.source}: {_RUNTIME[when.device]}",
            "compute": best,
            "power": power,
            "rates": measured,
            **({} if not steps else {"steps": f"{when.source}: median of whole training steps"}),
        },
    }
    if steps is not None:
        content["versions"] = versions(when)
        content["steps"] = [_flow(step) for step in steps]
    return "\n".join(_lines(content)) + "\n"


def versions(when: Circumstances) -> dict[str, str]:
    """What ran, by name; quoted, for 3.20 is no number."""
    ran = {"fedsim": __version__, "python": platform.python_version(), "torch": when.torch}
    ran |= {"transformers": when.transformers, "system": platform.system()}
    return {name: json.dumps(version) for name, version in ran.items()}


def _flow(step: StatedStep) -> str:
    return "{" + ", ".join(f"{key}: {_number(value)}" for key, value in vars(step).items()) + "}"


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


_RUNTIME = {
    "cpu": "resident size of a process that has imported torch and the model's class",
    "mps": "the same, and what Metal holds beyond tensors",
    "cuda": "memory of the GPU that a process holds beyond its tensors",
}


def _lines(content: Mapping[str, object], indent: str = "") -> list[str]:
    lines = []
    for key, value in content.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *_lines(value, indent + "  ")]
        elif isinstance(value, str) and (" " in value or not indent):
            lines.append(f"{indent}{key}: {json.dumps(value, ensure_ascii=False)}")
        elif isinstance(value, list) and all(v.startswith("{") for v in value) and value:
            lines += [f"{indent}{key}:", *(f"{indent}  - {v}" for v in value)]
        elif isinstance(value, list):
            lines.append(f"{indent}{key}: [{', '.join(value)}]")
        else:
            lines.append(f"{indent}{key}: {json.dumps(value) if isinstance(value, bool) else value}")
    return lines


def _rounded(value: float, unit: float, name: str, direct: Callable[[float], int]) -> str:
    """``value`` with four digits, rounded up or down by ``direct``, in a unit."""
    number = value / unit
    step = 10.0 ** (math.floor(math.log10(number)) + 1 - _DIGITS) if number > 0 else 1.0
    return f"{direct(round(number / step, 6)) * step:.{_DIGITS}g}{name}"


def _csv(timed: Sequence[Timed], probes: Probes, when: Circumstances) -> str:
    text = io.StringIO()
    text.write(f"# {when.source}; transformers {when.transformers}, {when.model}\n")
    text.write(f"# launch {probes.launch_s:.4g} s; Adam {probes.optimizer_bytes_per_s:.4g} bytes/s;")
    text.write(f" copy {probes.copy_bytes_per_s:.4g} bytes/s;")
    products = ", ".join(f"{p} {v:.4g}" for p, v in probes.product_flops_per_s.items())
    text.write(f" square product {products} FLOP/s\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for t in timed:
        o = t.operator
        writer.writerow(
            [
                t.precision,
                t.setting.batch,
                f"{t.setting.seconds:g}",
                o.phase,
                o.kind,
                o.name,
                o.shapes,
                o.count,
                o.cost.flops,
                o.cost.moved_bytes,
                len(t.runs_s),
                f"{t.seconds:.6g}",
                f"{min(t.runs_s):.6g}",
            ]
        )
    return text.getvalue()
