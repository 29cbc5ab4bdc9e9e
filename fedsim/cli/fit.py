"""``fedsim fit``: which techniques make training fit on a device, and what they cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fedsim.cli.complete import DEVICE, MODEL
from fedsim.cli.size import sized
from fedsim.words import plural

if TYPE_CHECKING:
    from fedsim.pricing import LayerTrace
    from fedsim.pricing.advice import Fit, Longest, Option
    from fedsim.printing import Table

_SHOWN = 15
_MARKS = {"same": "", "rounding": "~", "learning": "*"}


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
@sized
@click.option(
    "--batch", "-b", type=click.IntRange(1, 65_536), default=4, show_default=True, help="Examples a step."
)
@click.option("--all", "everything", is_flag=True, help=f"Print every combination, not the best {_SHOWN}.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every combination.")
def command(
    device: str,
    model: str,
    seconds: float | None,
    sizes: dict[str, int],
    batch: int,
    everything: bool,
    as_json: bool,
) -> None:
    """Price every combination of techniques: the fastest that fits, the cheapest change that does it, and
    the longest input that fits, or the largest batch if the model's examples are all alike."""
    import json

    from fedsim.errors import InputError
    from fedsim.hardware import load_device
    from fedsim.pricing import load_trace
    from fedsim.pricing.advice import Fit, most
    from fedsim.pricing.sizes import in_words, settled

    hardware = load_device(device)
    trace, size = settled(load_trace(model), seconds, sizes)
    if size > most(trace):
        raise InputError(f"{in_words(trace, size)} is more than is looked for; give an hour (3600 s) at most")
    fit = Fit(hardware, trace, batch, size)
    if as_json:
        click.echo(json.dumps(answer(fit), indent=1))
    else:
        _show(fit, everything)


def answer(fit: Fit) -> dict[str, Any]:
    """The answer as plain data: bytes and seconds."""
    from fedsim.pricing.sizes import is_speech, sizes_of

    return {
        "device": fit.device.name,
        "model": fit.trace.name,
        "batch": fit.batch,
        "sizes": sizes_of(fit.trace, fit.size),
        **({"samples": fit.size} if is_speech(fit.trace) else {}),
        "memory_bytes": fit.device.memory_bytes,
        "system_bytes": fit.device.system_bytes,
        "available_bytes": fit.available_bytes,
        "fits": fit.leanest.fits,
        "missing_bytes": fit.missing_bytes,
        "plain": _record(fit.plain),
        "fastest": _record(fit.fastest),
        "fastest_same_learning": _record(fit.fastest_same_learning),
        "cheapest": _record(fit.cheapest),
        "leanest": _record(fit.leanest),
        "longest" if fit.trace.sizes else "largest_batch": {
            "plain": _longest(fit.trace, fit.longest_plain),
            "same_learning": _longest(fit.trace, fit.longest_same_learning),
            "any": _longest(fit.trace, fit.longest),
        },
        "options": [_record(option) for option in fit.options],
    }


def _record(option: Option | None) -> dict[str, Any] | None:
    if option is None:
        return None
    return {
        **option.technique.as_dict(),
        "changes": list(option.changes),
        "effect": option.effect,
        "needs_many_more_steps": option.technique.forward_only,
        "footprint_bytes": option.footprint_bytes,
        "step_s": option.step_s,
        "fits": option.fits,
    }


def _longest(trace: LayerTrace, found: Longest) -> dict[str, Any]:
    from fedsim.pricing.sizes import is_speech, sizes_of

    size: dict[str, Any] = {"sizes": sizes_of(trace, found.size)} if trace.sizes else {"batch": found.size}
    if is_speech(trace):
        size |= {"samples": found.size, "seconds": found.seconds}
    return {**size, "technique": found.technique.as_dict()}


def _show(fit: Fit, everything: bool) -> None:
    from rich.text import Text

    from fedsim.pricing.sizes import batch_in_words, per_unit
    from fedsim.printing import Column, Table, put
    from fedsim.units import format_bytes, format_duration

    facts = Table(Column(words=True), "room", "a step", Column("technique", words=True))
    _fact(facts, "plain", fit.plain, fit)
    answer = [
        Text.assemble(
            (fit.trace.name, "bold"),
            " on ",
            (fit.device.title, "bold"),
            f", {batch_in_words(fit.trace, fit.batch, fit.size / per_unit(fit.trace))}:",
            f" {format_bytes(fit.available_bytes)} beside the system\n",
        )
    ]
    if fit.fastest is None:
        short = f" under any of {len(fit.options)} combinations: {format_bytes(fit.missing_bytes)} missing"
        only = Text("fits without a backward pass only", style="red")
        answer.append(only if fit.leanest.fits else Text.assemble(("does not fit", "red"), short))
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
        lengths.row(name, _length(fit.trace, longest), Text(longest.technique.in_words(), style="dim"))
    how = f"batch {fit.batch}" if fit.trace.sizes else "in one piece"
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
            f"{_MARKS[option.effect]:2}{option.words}",
        )
    which = "" if everything else ": those that no other beats in time, bytes and changes"
    put(
        *answer,
        facts,
        Text.assemble("\n", (f"{_sought(fit.trace)} that fits", "bold"), f", {how}"),
        lengths,
        f"\n{plural(len(fit.options), 'combination')}{which}",
        table,
        Text(
            (f"all {len(fit.options)} with --all\n" if len(shown) < len(fit.options) else "")
            + "\n".join(("", *_legend(fit.trace))),
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
    facts.row(Text(name, style="bold"), room, format_duration(option.step_s), option.words)


def _legend(trace: LayerTrace) -> tuple[str, str]:
    """What the marks mean, as far as it concerns the model."""
    from fedsim.pricing.sizes import is_speech

    cnn = any(block.stack == "cnn" for block in trace.blocks.values())
    codebooks = any(layer.group == "quantization" for layer in trace.layers)
    norms = any(layer.module_class.startswith("BatchNorm") for layer in trace.layers)
    but = "the diversity loss of the codebooks" if codebooks else "batch normalisation" if norms else ""
    again = "checkpointing, " if trace.blocks else ""
    frozen = " (a CNN encoder, or all but some)" if cnn else ""
    return (
        f"Unmarked rows learn the same: stored or fused attention, {again}released gradients and "
        f"micro-batches{f' (but for {but}, averaged over a micro-batch)' if but else ''}.",
        f"~ rounds in 16 bits. * learns otherwise: another optimizer, weights that do not train{frozen}, "
        "fewer layers, or forward passes only, of which many more steps are needed."
        f"{' A shorter sentence teaches less, too.' if is_speech(trace) else ''}",
    )


def _sought(trace: LayerTrace) -> str:
    """What is looked for."""
    from fedsim.pricing.sizes import is_speech

    if is_speech(trace):
        return "longest sentence"
    return f"largest number of {trace.sizes[0]}" if trace.sizes else "largest batch"


def _length(trace: LayerTrace, longest: Longest) -> str:
    from fedsim.pricing.advice import most
    from fedsim.pricing.sizes import is_speech

    if longest.size == 0:
        return "none"
    if is_speech(trace):
        return "an hour or more" if longest.size >= most(trace) else f"{longest.seconds:.1f} s"
    return f"{longest.size:,}" + (" or more" if longest.size >= most(trace) else "")
