"""``fedsim cost``: price one training step of one model on one device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fedsim.cli.complete import DEVICE, MODEL, TREND

if TYPE_CHECKING:
    from fedsim.pricing import Pricer


@click.command(name="cost")
@click.option(
    "--device", "-d", required=True, shell_complete=DEVICE, help="A device of the catalogue, or a YAML file."
)
@click.option(
    "--model",
    "-m",
    required=True,
    shell_complete=MODEL,
    help="A layer trace of the catalogue, or a JSON file.",
)
@click.option("--batch", "-b", type=click.IntRange(1), default=1, show_default=True, help="Sentences a step.")
@click.option("--seconds", "-s", type=float, default=5.5, show_default=True, help="Of the longest sentence.")
@click.option("--precision", default="fp32", show_default=True, help="fp32, mixed (fp16 autocast) or bf16.")
@click.option("--optimizer", default="adam", show_default=True, help="sgd, momentum, adam, adamw, ...")
@click.option("--attention", default="eager", show_default=True, help="eager (stored maps) or sdpa (fused).")
@click.option("--checkpointing", default="none", show_default=True, help="none, transformer, cnn or both.")
@click.option("--freeze-cnn", is_flag=True, help="Do not train the CNN encoder.")
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
    seconds: float,
    year: int | None,
    trend: str,
    as_json: bool,
    **technique: Any,
) -> None:
    """Price one training step: FLOPs, memory by part, seconds by part, and whether it fits."""
    import json

    from fedsim.pricing.answer import answer as price
    from fedsim.pricing.answer import pricer_of

    pricer, samples = pricer_of(device, model, seconds, **technique)
    if year is not None:
        from fedsim.hardware import load_trend, project
        from fedsim.pricing import Pricer

        pricer = Pricer(project(pricer.device, year, load_trend(trend)), pricer.trace, pricer.technique)
    answer = price(pricer, batch, samples)
    if as_json:
        click.echo(json.dumps(answer, indent=1))
    else:
        _show(pricer, answer, batch, seconds)


def _show(pricer: Pricer, answer: dict[str, Any], batch: int, seconds: float) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from fedsim.units import format_bytes, format_duration, format_flops

    console = Console(highlight=False)
    device = pricer.device
    batches = f"{batch} x {seconds:g} s"
    grown = f" of {device.growth.year} by {escape(str(device.growth.trend))}" if device.growth.year else ""
    what, where = escape(pricer.trace.name), escape(device.title)
    console.print(f"[bold]{what}[/bold] on [bold]{where}[/bold]{grown}, {batches}")
    console.print(f"[dim]{pricer.technique.in_words()}[/dim]\n")
    facts = Table.grid(padding=(0, 2))
    facts.add_row("parameters", f"{answer['parameters'] / 1e6:.2f} million")
    facts.add_row("forward", format_flops(answer["forward_flops"]))
    facts.add_row(
        "", f"[dim]{format_flops(answer['forward_flops_paper'])} without the products of attention[/dim]"
    )
    facts.add_row("training", format_flops(answer["training_flops"]))
    facts.add_row("kept for backward", format_bytes(answer["saved_bytes"]))
    console.print(facts)
    console.print()
    memory = _parts("memory", answer["footprint"], answer["footprint_bytes"], format_bytes)
    time = _parts("time", answer["step"], answer["step_s"], format_duration)
    both = Table.grid(padding=(0, 4))
    both.add_row(memory, time)
    console.print(both)
    free = device.memory_bytes - answer["system_bytes"]
    if answer["fits"]:
        left = format_bytes(free - answer["footprint_bytes"])
        verdict = f"[green]fits[/green]: {left} of {format_bytes(free)} would stay free"
    else:
        short = format_bytes(answer["footprint_bytes"] - free)
        verdict = (
            f"[red]does not fit[/red]: {short} more than the {format_bytes(free)} that the system leaves"
        )
    console.print(f"\n{verdict}")
    relative = answer["calibration"]["relative"]
    inherited = f" from {escape(relative)}" if relative else ""
    console.print(f"[dim]rates: {answer['calibration']['status']}{inherited}[/dim]")


def _parts(title: str, parts: dict[str, float], total: float, show: Any) -> Any:
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="cyan")
    for name, value in parts.items():
        table.add_row(name, show(value), "▇" * round(20 * value / total) if total else "")
    table.add_row("[bold]total[/bold]", f"[bold]{show(total)}[/bold]", "")
    return table
