"""``fedsim cost``: price one training step of one model on one device."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from fedsim.cli.complete import DEVICE, MODEL, TREND
from fedsim.cli.size import sized

if TYPE_CHECKING:
    from fedsim.pricing import Pricer
    from fedsim.printing import Table

_BAR = 20


@click.command(name="cost")
@click.option(
    "--device",
    "-d",
    required=True,
    shell_complete=DEVICE,
    help="A device of the catalogue (NAME or NAME@MODE), or a YAML file.",
)
@click.option(
    "--model",
    "-m",
    required=True,
    shell_complete=MODEL,
    help="A layer trace of the catalogue, or a JSON file.",
)
@click.option("--batch", "-b", type=click.IntRange(1), default=1, show_default=True, help="Examples a step.")
@sized
@click.option(
    "--precision",
    default="fp32",
    show_default=True,
    help="fp32, mixed (fp16 autocast), bf16, tf32 or fp32-strict.",
)
@click.option("--optimizer", default="adam", show_default=True, help="sgd, momentum, adam, adamw, ...")
@click.option("--attention", default="eager", show_default=True, help="eager (stored maps) or sdpa (fused).")
@click.option("--checkpointing", default="none", show_default=True, help="none, transformer, cnn or both.")
@click.option(
    "--train", default="all", show_default=True, help="all, head, biases, last:2, layer:6, lora:8, ..."
)
@click.option("--freeze-cnn", is_flag=True, help="The same as --train frozen-cnn.")
@click.option("--depth", type=int, help="How many layers run; all by default.")
@click.option("--release-gradients", is_flag=True, help="Step inside the backward pass.")
@click.option("--forward-only", is_flag=True, help="Zeroth-order steps: two forward passes.")
@click.option("--accumulate", type=int, default=1, show_default=True, help="Micro-batches a step.")
@click.option("--year", type=int, help="Of a later year, by a trend; without it, as sold.")
@click.option(
    "--trend", "-t", default="gao2022", show_default=True, shell_complete=TREND, help="Growth up to --year."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    device: str,
    model: str,
    batch: int,
    seconds: float | None,
    sizes: dict[str, int],
    year: int | None,
    trend: str,
    as_json: bool,
    **technique: Any,
) -> None:
    """Price one training step: FLOPs, memory by part, seconds by part, and whether it fits."""
    import json

    from fedsim.pricing.answer import answer as price
    from fedsim.pricing.answer import pricer_of
    from fedsim.pricing.sizes import batch_in_words, per_unit

    pricer, samples = pricer_of(device, model, seconds, sizes, **technique)
    if year is not None:
        from fedsim.hardware import load_trend, project
        from fedsim.pricing import Pricer

        pricer = Pricer(project(pricer.device, year, load_trend(trend)), pricer.trace, pricer.technique)
    answer = price(pricer, batch, samples)
    if as_json:
        click.echo(json.dumps(answer, indent=1))
    else:
        _show(pricer, answer, batch_in_words(pricer.trace, batch, samples / per_unit(pricer.trace)))


def _show(pricer: Pricer, answer: dict[str, Any], step: str) -> None:
    from rich.columns import Columns
    from rich.text import Text

    from fedsim.pricing.answer import doubt
    from fedsim.printing import Column, Table, put
    from fedsim.units import format_bytes, format_duration, format_flops

    device = pricer.device
    grown = f" of {device.growth.year} by {device.growth.trend}" if device.growth.year else ""
    what, where = (pricer.trace.name, "bold"), (device.title, "bold")
    facts = Table(Column(words=True), Column(words=True))
    facts.row("parameters", f"{answer['parameters'] / 1e6:.2f} million")
    if answer["trained_bytes"] != 4 * answer["parameters"]:
        facts.row("that train", f"{answer['trained_bytes'] / 4e6:.2f} million")
    facts.row("forward", format_flops(answer["forward_flops"]))
    paper = f"{format_flops(answer['forward_flops_paper'])} without the products of attention"
    facts.row("", Text(paper, style="dim"))
    facts.row("training", format_flops(answer["training_flops"]))
    facts.row("kept for backward", format_bytes(answer["saved_bytes"]))
    memory = _parts("memory", answer["footprint"], answer["footprint_bytes"], format_bytes)
    spent = {part: s for part, s in answer["step"].items() if s or part != "host"}
    time = _parts("time", spent, answer["step_s"], format_duration)
    free = device.memory_bytes - answer["system_bytes"]
    if answer["fits"]:
        left = format_bytes(free - answer["footprint_bytes"])
        verdict = Text.assemble(("fits", "green"), f": {left} of {format_bytes(free)} would stay free")
    else:
        short = format_bytes(answer["footprint_bytes"] - free)
        verdict = Text.assemble(
            ("does not fit", "red"), f": {short} more than the {format_bytes(free)} that the system leaves"
        )
    known, ends = answer["calibration"], answer["interval"]["step_s"]
    off = f"off by a factor of {known['standard_error']:.2f} (one standard error)"
    within = (
        f"{format_duration(ends['low'])} to {format_duration(ends['high'])} ({ends['level']:.0%} interval)"
    )
    rates = f"rates: {known['status']}; a step takes {within}, {off}"
    counts = doubt(answer["exact"], answer["largest_error"])
    put(
        Text.assemble(
            what,
            " on ",
            where,
            f"{grown}, {step}",
        ),
        Text(f"{pricer.technique.in_words()}\n", style="dim"),
        facts,
        "",
        Columns((memory, time), padding=(0, 4)),
        "",
        verdict,
        Text(rates, style="dim"),
        *([Text(f"counts: {counts}, as far as was tried", style="yellow")] if counts else []),
    )


def _parts(title: str, parts: dict[str, float], total: float, show: Callable[[float], str]) -> Table:
    from rich.text import Text

    from fedsim.printing import Column, Table

    table = Table(Column(words=True), Column(), Column(bar=True), title=title)
    for name, value in parts.items():
        bar = "▇" * round(_BAR * value / total) if total else ""
        table.row(name, show(value), Text(bar, style="cyan"))
    table.row(Text("total", style="bold"), Text(show(total), style="bold"), "")
    return table
