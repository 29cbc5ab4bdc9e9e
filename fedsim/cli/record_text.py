"""How ``fedsim devices --record`` prints: published steps beside what the rest of their kind foretells."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from fedsim.cli.device_data import to_csv
from fedsim.errors import InputError
from fedsim.hardware import Device
from fedsim.pricing.pooling import Foretold, left_out, score, steps
from fedsim.pricing.priors import KINDS, priors
from fedsim.printing import Column, Table, put
from fedsim.units import format_duration
from fedsim.words import plural

_Z90 = 1.645


def show(devices: Sequence[Device] | None, form: str) -> None:
    """Print every timed step, of all devices or of some, foretold without any step of its chip.

    Raises:
        InputError: nobody timed any step of these devices.
    """
    wanted = None if devices is None else {device.name for device in devices}
    found = {kind: left_out(kind) for kind in KINDS}
    chosen = {
        kind: [one for one in all_ if wanted is None or one.step.device.name in wanted]
        for kind, all_ in found.items()
    }
    rows = [_dict(one, kind) for kind, some in chosen.items() for one in some]
    if not rows:
        raise InputError("nobody timed a step of this device; name another, or none for all")
    if form == "csv":
        click.echo(to_csv(rows), nl=False)
        return
    if form == "json":
        waiting = [
            {"hardware": w.published.hardware, "model": w.published.model, "why": w.why} for w in steps()[1]
        ]
        click.echo(json.dumps({"steps": rows, "not_priced_yet": waiting if wanted is None else []}, indent=1))
        return
    for kind, some in chosen.items():
        if some:
            _print(kind, some)
    if wanted is None and (waiting_steps := steps()[1]):
        reasons = ", ".join(dict.fromkeys(f"{w.published.model}: {w.why}" for w in waiting_steps))
        put("", f"{plural(len(waiting_steps), 'published step')} not priced ({reasons})")


def _print(kind: str, found: Sequence[Foretold]) -> None:
    prior = priors()[kind]
    words = [Column(name, words=True) for name in ("device", "model")]
    table = Table(
        *words,
        "batch",
        Column("size", words=True, spare=1),
        Column("precision", words=True, spare=1),
        "measured",
        "foretold",
        Column("90% interval", spare=2),
        "ratio",
        title=f"Left out of their kind: {kind}",
    )
    last = ""
    for one in sorted(found, key=lambda one: one.step.device.name):
        step = one.step
        low, high = (format_duration(one.predicted_s * prior.error**z) for z in (-_Z90, _Z90))
        table.row(
            step.device.name if step.device.name != last else "",
            step.model if step.fitted else f"{step.model} (not fitted)",
            str(step.batch),
            step.size,
            step.precision,
            format_duration(step.seconds),
            format_duration(one.predicted_s),
            f"{low} to {high}",
            f"{one.ratio:.2f}",
            section=step.device.name != last,
        )
        last = step.device.name
    put(table)
    if any(one.step.fitted for one in found):
        s = score(found)
        put(
            f"{plural(s.steps, 'step')}: typically off by a factor of {s.typical:.2f}, "
            f"{s.worst:.2f} at worst; bias {s.bias:.2f}",
            "",
        )


def _dict(one: Foretold, kind: str) -> dict[str, Any]:
    step, error = one.step, priors()[kind].error
    return {
        "kind": kind,
        "device": step.device.name,
        "model": step.model,
        "batch": step.batch,
        "size": step.size,
        "precision": step.precision,
        "technique": step.technique,
        "program": step.published.framework if step.published else "",
        "measured_s": step.seconds,
        "foretold_s": one.predicted_s,
        "low_s": one.predicted_s * error**-_Z90,
        "high_s": one.predicted_s * error**_Z90,
        "ratio": one.ratio,
        "fitted": step.fitted,
        "source": step.published.source if step.published else "",
    }
