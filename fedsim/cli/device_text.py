"""How ``fedsim devices`` prints: tables, and plain data as JSON or CSV."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click
from rich.text import Text

from fedsim.cli.device_data import AskedStep, as_dict, calibration_dict, flat, residual_dict, summary, to_csv
from fedsim.errors import InputError
from fedsim.hardware import Device, measurements, startup
from fedsim.pricing.calibration import Calibration, calibrate, status_of
from fedsim.pricing.memory_check import MemoryCheck, memory_checks
from fedsim.pricing.priors import priors, unit_peaks
from fedsim.printing import Column, Table, put
from fedsim.units import GIB, format_bytes, format_duration, format_flops, format_j
from fedsim.words import plural, verb


def _words(*headings: str) -> list[Column]:
    return [Column(heading, words=True) for heading in headings]


def many(devices: Sequence[Device], form: str, asked: AskedStep | None = None) -> None:
    """Print devices, one a line; with a step of training, if one is asked for."""
    if form == "json":
        click.echo(json.dumps([{**as_dict(d), **_step(d, asked)} for d in devices], indent=1))
        return
    if form == "csv":
        rows = ({**flat(d), **({} if asked is None else asked.flat(d))} for d in devices)
        click.echo(to_csv(rows), nl=False)
        return
    if not devices:
        raise InputError("no device of the catalogue passes these filters")
    if asked is not None:
        put(_steps_table(devices, asked))
        return
    table = Table(
        *_words("device"),
        "sold",
        Column("family", words=True, spare=3),
        "GiB",
        Column("GB/s", spare=1),
        "GFLOP/s fp32",
        Column("fp16", spare=2, named="GFLOP/s fp16"),
        Column("watts", spare=1),
        *_words("step times"),
    )
    for device in devices:
        fp16 = device.peak_flops_per_s.get("fp16")
        table.row(
            device.name,
            str(device.released),
            device.family,
            f"{device.memory_bytes / GIB:g}",
            f"{device.memory_bandwidth_bytes_per_s / 1e9:.0f}",
            f"{device.peak_flops_per_s['fp32'] / 1e9:,.0f}",
            "" if fp16 is None else f"{fp16 / 1e9:,.0f}",
            f"{device.active_w:.3g}",
            status_of(device),
        )
    put(table)


def _step(device: Device, asked: AskedStep | None) -> dict[str, Any]:
    return {} if asked is None else {"step": asked.on(device)}


def _steps_table(devices: Sequence[Device], asked: AskedStep) -> Table:
    """What a step takes and needs on each device."""
    table = Table(
        *_words("device"),
        "sold",
        Column("family", words=True, spare=1),
        "a step",
        "needs",
        "has",
        *_words("", "step times"),
        title=asked.in_words,
    )
    for device in devices:
        step = asked.on(device)
        table.row(
            device.name,
            str(device.released),
            device.family,
            format_duration(step["step_s"]),
            format_bytes(step["footprint_bytes"]),
            format_bytes(device.memory_bytes - device.system_bytes),
            Text("fits", style="green") if step["fits"] else Text("no", style="red"),
            status_of(device),
        )
    return table


def one(device: Device, form: str, asked: AskedStep | None = None) -> None:
    """Print one device: figures with their sources, rates, and how well it was calibrated."""
    if form == "csv":
        many([device], form, asked)
        return
    calibration = calibrate(device)
    if form == "json":
        known = {**as_dict(device), **_step(device, asked), "calibration": calibration_dict(calibration)}
        click.echo(json.dumps(known, indent=1))
        return
    figures = Table(*_words("figure", "value", "source"))
    last = ""
    for label, value, source in _figures(device):
        figures.row(label, value, "as above" if source == last else source)
        last = source
    put(
        Text.assemble((device.title, "bold"), f"  {device.name}"),
        f"{device.family}, executes on {device.backend}, trains in {_listed(device.precisions)}",
        "",
        figures,
        "",
        _rates_table(device, calibration),
        "",
        _verdict(device, calibration),
        _evidence(calibration),
    )
    if asked is not None:
        put("", _steps_table([device], asked))
    _print_residuals([calibration], [device])


def _figures(device: Device) -> list[tuple[str, str, str]]:
    """What each figure is called, its value, and its source."""
    shared = "shared with the system" if device.memory_shared else "its own"
    rows = [
        ("first sold", str(device.released), "released"),
        ("memory", f"{device.memory_bytes / GIB:g} GiB, {shared}", "memory.capacity"),
        ("bandwidth", f"{format_bytes(device.memory_bandwidth_bytes_per_s)}/s", "memory.bandwidth"),
        ("system holds", f"{device.system_bytes / GIB:g} GiB", "memory.system"),
        ("runtime holds", f"{device.runtime_bytes / GIB:g} GiB", "memory.runtime"),
    ]
    rows += [
        (f"peak {p}", f"{format_flops(v)}/s", f"compute.{p}") for p, v in device.peak_flops_per_s.items()
    ]
    rows += [
        ("idle", f"{device.idle_w:g} W", "power.idle"),
        ("training", f"{device.active_w:g} W", "power.active"),
    ]
    if device.modes:
        rows.append(("power modes", ", ".join(device.modes), "modes"))
    if device.battery_j is not None:
        rows.append(("battery", format_j(device.battery_j), "power.battery"))
    if device.throttle_after_s is not None:
        after = format_duration(device.throttle_after_s)
        rows.append(("once hot", f"{device.sustained:.0%} of its speed after {after}", "thermal.sustained"))
    start = startup(device)
    return [
        *((label, value, device.source_of(figure)) for label, value, figure in rows),
        ("startup", format_duration(start.seconds), start.source),
    ]


def _rates_table(device: Device, calibration: Calibration) -> Table:
    kinds = ("launch", "convolutions", "linear layers", "attention", "streams")
    table = Table(*_words("precision"), *kinds, title="Effective rates, and their share of peak")
    for precision, rates in calibration.rates.items():
        conv, matmul = unit_peaks(device, precision)
        row = [precision, format_duration(rates.launch_s)]
        reached = (rates.conv_flops_per_s, rates.matmul_flops_per_s, rates.attention_flops_per_s)
        for rate, peak in zip(reached, (conv, matmul, matmul), strict=True):
            row.append(f"{format_flops(rate)}/s {_share(rate / peak)}")
        share = rates.bandwidth_bytes_per_s / device.memory_bandwidth_bytes_per_s
        row.append(f"{format_bytes(rates.bandwidth_bytes_per_s)}/s {_share(share)}")
        table.row(*row)
    return table


def _share(value: float) -> str:
    text = f"{value:.0%}" if value >= 0.095 else f"{value:.1%}"
    return f"{text:>4}"


def _verdict(device: Device, calibration: Calibration) -> str:
    """One sentence on where the rates come from and how far they can be trusted."""
    count = len(calibration.residuals)
    off = f"a step is off by a factor of {calibration.errors['fp32']:.2f} (one standard error)"
    if calibration.status == "calibrated":
        numbers = plural(calibration.parameters, "number")
        return (
            f"calibrated: {numbers} ({calibration.plan}) fitted to {plural(count, 'measured step')}, "
            f"on the rates of its kind ({calibration.kind}); "
            f"error {_percent(calibration.mean_error)} on average, "
            f"{_percent(calibration.worst_error)} at worst, "
            f"{_percent(calibration.left_out_error)} for steps left out of the fit"
        )
    if calibration.status == "measured":
        return f"measured: the rates come from micro-benchmarks on the device; {off}"
    return f"inferred: nobody measured it; it takes {calibration.plan}; {off}"


def _evidence(calibration: Calibration) -> str:
    """Which devices and steps the rates come from."""
    if calibration.status == "measured":
        return ""
    prior = priors()[calibration.kind]
    seen = f"{plural(prior.steps, 'step')} on {', '.join(prior.devices)}"
    kind = f"its kind ({prior.kind}): {seen}; {prior.evidence}"
    if calibration.status == "inferred":
        return f"All rates are of {kind}"
    files = ", ".join(dict.fromkeys(r.measurement.file.name for r in calibration.residuals))
    return f"{calibration.plan} are its own, from {files}; everything else is of {kind}"


def residuals(devices: Sequence[Device], form: str) -> None:
    """Print every measured step of the devices beside its prediction."""
    measured = [d for d in devices if measurements(d)]
    found = [calibrate(device) for device in measured]
    rows = [r for calibration in found for r in calibration.residuals]
    checks = memory_checks(measured)
    if form == "csv":
        click.echo(to_csv(residual_dict(r) for r in rows), nl=False)
        return
    if form == "json":
        answer = {
            "devices": {c.device: calibration_dict(c) for c in found},
            **summary(found),
            "memory": [check.as_dict() for check in checks],
        }
        click.echo(json.dumps(answer, indent=1))
        return
    if not rows:
        raise InputError("nobody measured any of these devices")
    _print_residuals(found, measured)
    put("")
    for calibration, device in zip(found, measured, strict=True):
        put(f"{device.name}: {_verdict(device, calibration)}")
    if len(found) > 1:
        total = summary(found)
        put(
            f"all {plural(len(rows), 'measured step')}: {plural(total['parameters'], 'number')} fitted; "
            f"error {_percent(total['mean_error'])} on average, {_percent(total['worst_error'])} at worst, "
            f"{_percent(total['left_out_error'])} for steps left out of the fit"
        )


def _print_residuals(found: Sequence[Calibration], devices: Sequence[Device]) -> None:
    rows = [r for calibration in found for r in calibration.residuals]
    if not rows:
        return
    several = len(found) > 1
    table = Table(
        *_words(*(["device"] if several else []), "model"),
        "batch",
        Column("precision", words=True, spare=1),
        "measured",
        "predicted",
        "error",
        "left out",
        title="Measured steps and predictions",
    )
    last = ""
    for residual in rows:
        step = residual.measurement
        left_out = residual.left_out_error
        table.row(
            *([step.device if step.device != last else ""] if several else []),
            step.model,
            str(step.batch_size),
            step.precision,
            format_duration(residual.measured_s),
            format_duration(residual.predicted_s),
            f"{residual.error:+.1%}",
            "" if left_out is None else f"{left_out:+.1%}",
            section=several and step.device != last,
        )
        last = step.device
    put(table)
    checks = memory_checks(devices)
    wrong = [check for check in checks if not check.agrees]
    out = [check for check in checks if check.measurement.oom]
    if checks:
        told = f"{len(out)} of {plural(len(checks), 'measured step')} ran out of memory; "
        told += (
            "all are predicted right"
            if not wrong
            else f"{len(wrong)} {verb(len(wrong), 'be')} predicted wrong"
        )
        put("", _memory_table(checks, several), told)


def _memory_table(checks: Sequence[MemoryCheck], several: bool) -> Table:
    table = Table(
        *_words(*(["device"] if several else []), "model"),
        Column("batch", spare=1),
        Column("precision", words=True, spare=1),
        Column("longest", spare=1),
        "needs",
        "has",
        *_words("measured", "predicted"),
        title="Does it fit? (GiB)",
    )
    last = ""
    for check in checks:
        step = check.measurement
        table.row(
            *([step.device if step.device != last else ""] if several else []),
            step.model,
            str(step.batch_size),
            step.precision,
            f"{step.longest_seconds:g} s",
            f"{check.needed_bytes / GIB:.2f}",
            f"{check.available_bytes / GIB:.2f}",
            "OOM" if step.oom else "fits",
            "fits" if check.fits else "OOM",
            section=several and step.device != last,
        )
        last = step.device
    return table


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1%}"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
