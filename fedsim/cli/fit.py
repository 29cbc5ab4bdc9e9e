"""``fedsim fit``: which techniques make training fit on a device, and what they cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fedsim.cli.complete import DEVICE, MODEL
from fedsim.words import plural

if TYPE_CHECKING:
    from fedsim.pricing.advice import Fit, Longest, Option
    from fedsim.printing import Table

_SHOWN = 15
_MARKS = {"same": "", "rounding": "~", "learning": "*"}
_LEGEND = (
    "Unmarked rows learn the same: stored or fused attention, checkpointing, and micro-batches"
    " (but for the diversity loss of the codebooks, averaged over a micro-batch).",
    "~ rounds in 16 bits. * learns otherwise: another optimizer, or a CNN encoder that is not trained.",
)


@click.command(name="fit")
@click.option(
    "--device",
    "-d",
    required=True,
    shell_complete=DEVICE,
    help="A device of the catalogue (NAME or NAME@MODE), or a YAML file.",
)
@click.option(
    "--model", "-m", required=True, shell_complete=MODEL, help="A layer trace of the catalogue, or JSON."
)
@click.option("--seconds", "-s", type=float, required=True, help="Of the longest sentence.")
@click.option(
    "--batch", "-b", type=click.IntRange(1, 65_536), default=4, show_default=True, help="Sentences a step."
)
@click.option("--all", "everything", is_flag=True, help=f"Print every combination, not the best {_SHOWN}.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every combination.")
def command(device: str, model: str, seconds: float, batch: int, everything: bool, as_json: bool) -> None:
    """Price every combination of techniques: the fastest that fits, and the cheapest change that does it."""
    import json

    from fedsim.errors import InputError
    from fedsim.hardware import load_device
    from fedsim.pricing import load_trace
    from fedsim.pricing.advice import LONGEST_SAMPLES, Fit
    from fedsim.pricing.sizes import needs_speech
    from fedsim.units import SAMPLES_PER_S

    if not 0 < seconds <= LONGEST_SAMPLES / SAMPLES_PER_S:
        raise InputError(f"--seconds {seconds:g} is not a length between 0 and an hour (3600)")
    samples = round(seconds * SAMPLES_PER_S)
    hardware, trace = load_device(device), load_trace(model)
    needs_speech(trace, "fit")
    if trace.frames(samples) < 1:
        raise InputError(f"--seconds {seconds:g} leaves {trace.name} no frame; give a longer sentence")
    fit = Fit(hardware, trace, batch, samples)
    if as_json:
        click.echo(json.dumps(answer(fit), indent=1))
    else:
        _show(fit, everything)


def answer(fit: Fit) -> dict[str, Any]:
    """The answer as plain data: bytes and seconds."""
    return {
        "device": fit.device.name,
        "model": fit.trace.name,
        "batch": fit.batch,
        "samples": fit.samples,
        "memory_bytes": fit.device.memory_bytes,
        "system_bytes": fit.device.system_bytes,
        "available_bytes": fit.available_bytes,
        "fits": fit.fastest is not None,
        "missing_bytes": fit.missing_bytes,
        "plain": _record(fit.plain),
        "fastest": _record(fit.fastest),
        "fastest_same_learning": _record(fit.fastest_same_learning),
        "cheapest": _record(fit.cheapest),
        "leanest": _record(fit.leanest),
        "longest": {
            "plain": _longest_record(fit.longest_plain),
            "same_learning": _longest_record(fit.longest_same_learning),
            "any": _longest_record(fit.longest),
        },
        "options": [_record(option) for option in fit.options],
    }


def _record(option: Option | None) -> dict[str, Any] | None:
    if option is None:
        return None
    return {
        **vars(option.technique),
        "changes": list(option.changes),
        "effect": option.effect,
        "footprint_bytes": option.footprint_bytes,
        "step_s": option.step_s,
        "fits": option.fits,
    }


def _longest_record(longest: Longest) -> dict[str, Any]:
    return {"samples": longest.samples, "seconds": longest.seconds, "technique": vars(longest.technique)}


def _show(fit: Fit, everything: bool) -> None:
    from rich.text import Text

    from fedsim.printing import Column, Table, put
    from fedsim.units import SAMPLES_PER_S, format_bytes, format_duration

    facts = Table(Column(words=True), "room", "a step", Column("technique", words=True))
    _fact(facts, "plain", fit.plain, fit)
    answer = [
        Text.assemble(
            (fit.trace.name, "bold"),
            " on ",
            (fit.device.title, "bold"),
            f", {fit.batch} x {fit.samples / SAMPLES_PER_S:g} s:",
            f" {format_bytes(fit.available_bytes)} beside the system\n",
        )
    ]
    if fit.fastest is None:
        short = f" under any of {len(fit.options)} combinations: {format_bytes(fit.missing_bytes)} missing"
        answer.append(Text.assemble(("does not fit", "red"), short))
        _fact(facts, "leanest", fit.leanest, fit)
    else:
        _fact(facts, "cheapest change", fit.cheapest, fit)
        _fact(facts, "fastest, same learning", fit.fastest_same_learning, fit)
        _fact(facts, "fastest of all", fit.fastest, fit)
    lengths = Table(Column(words=True), Column(), Column(words=True))
    for name, longest in (
        ("plain", fit.longest_plain),
        ("same learning", fit.longest_same_learning),
        ("any", fit.longest),
    ):
        lengths.row(name, _length(longest), Text(longest.technique.in_words(), style="dim"))
    shown = fit.options if everything else fit.front[:_SHOWN]
    table = Table(
        Column(words=True),
        "a step",
        Column("against plain", spare=1),
        "footprint",
        Column("technique", words=True),
    )
    for option in shown:
        table.row(
            Text("fits", style="green") if option.fits else Text("no", style="red"),
            format_duration(option.step_s),
            f"{100 * (option.step_s / fit.plain.step_s - 1):+.0f}%",
            format_bytes(option.footprint_bytes),
            f"{_MARKS[option.effect]:2}{option.technique.in_words()}",
        )
    which = "" if everything else ": those that no other beats in time, bytes and changes"
    put(
        *answer,
        facts,
        Text.assemble("\n", ("longest sentence that fits", "bold"), f", batch {fit.batch}"),
        lengths,
        f"\n{plural(len(fit.options), 'combination')}{which}",
        table,
        Text(
            (f"all {len(fit.options)} with --all\n" if len(shown) < len(fit.options) else "")
            + "\n".join(("", *_LEGEND))
            + " A shorter sentence teaches less, too.",
            style="dim",
        ),
    )


def _fact(facts: Table, name: str, option: Option | None, fit: Fit) -> None:
    from rich.text import Text

    from fedsim.units import format_bytes, format_duration

    if option is None:
        facts.row(Text(name, style="bold"), Text("none fits", style="dim"), "", "")
        return
    free = fit.available_bytes - option.footprint_bytes
    room = (
        Text(f"{format_bytes(free)} free", style="green")
        if option.fits
        else Text(f"{format_bytes(-free)} missing", style="red")
    )
    facts.row(Text(name, style="bold"), room, format_duration(option.step_s), option.technique.in_words())


def _length(longest: Longest) -> str:
    from fedsim.pricing.advice import LONGEST_SAMPLES

    if longest.samples == 0:
        return "none"
    return "an hour or more" if longest.samples >= LONGEST_SAMPLES else f"{longest.seconds:.1f} s"
