"""How ``fedsim feasible`` prints its answer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from fedsim.feasible.study import Result, Study

_WORDS = {
    "memory": "fits",
    "parity_speed": "speed",
    "parity_memory": "memory",
    "days": "days",
    "energy": "energy",
    "battery": "battery",
    "as_sold": "nothing",
}
"""Columns, and what binds."""


def show(study: Study) -> None:
    """Print a table for each trend, and what the columns mean."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    several = len(_techniques(study)) > 1
    for trend in study.trends:
        results = study.of(trend)
        names = list(dict.fromkeys(name for result in results for name in result.answer.findings))
        since = "its release" if trend.counted_from is None else str(trend.counted_from)
        console.print(f"\n[bold]{escape(trend.title)}[/bold]  [dim]from {since}[/dim]")
        table = Table(box=None, pad_edge=False, padding=(0, 2 if study.draws is None else 1, 0, 0))
        table.add_column("", overflow="fold")
        for heading in (*(_WORDS[name] for name in names), "all"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("binds", no_wrap=True)
        device = ""
        for result in results:
            if result.answer.question.device.name != device:
                device = result.answer.question.device.name
                table.add_row(f"[bold]{escape(device)}[/bold]")
            table.add_row(*_row(result, names, several))
        _print_whole(Console(highlight=False), table)
    _notes(study, console.print)


def _print_whole(console: Console, table: Table) -> None:
    """Print a table of which no year is cut off: labels fold first, then lines grow beyond the width."""
    label, *years = table.columns
    for column in years:
        column.min_width = max(console.measure(cell).maximum for cell in (column.header, *column.cells))
    label.min_width = max(2 + console.measure(cell).minimum for cell in label.cells)
    needed = label.min_width + sum(column.min_width or 0 for column in years)
    needed += len(years) * table.padding[1]
    console.width = max(console.width, needed)
    console.print(table)


def _techniques(study: Study) -> list[str]:
    return list(dict.fromkeys(result.answer.question.technique.in_words() for result in study.results))


def _row(result: Result, names: list[str], with_technique: bool) -> list[str]:
    from rich.markup import escape

    found, question = result.answer, result.answer.question
    cells = [f"  {escape(question.trace.name)} {question.batch} x {question.seconds:g} s"]
    if with_technique:
        cells[0] += f"\n    {question.technique.in_words()}"
    if result.spread is None:
        last = "[red]never[/red]" if found.year is None else f"[bold]{found.year}[/bold]"
        cells += [_year(found.findings[n].year, found.start) if n in found.findings else "" for n in names]
        binding = found.binding
        binds = _WORDS["as_sold" if binding is None else binding.criterion.name]
    else:
        drawn = result.spread
        cells += [_between(drawn.quantiles(drawn.moments[n])) if n in drawn.moments else "" for n in names]
        last = _between(drawn.quantiles(drawn.everything))
        name, share = max(drawn.binding().items(), key=lambda item: item[1])
        binds = f"{_WORDS[name]} {100 * share:.0f}%"
    return [*cells, last, binds]


def _year(year: int | None, start: int) -> str:
    if year is None:
        return "[red]never[/red]"
    return f"[green]{year}[/green]" if year == start else str(year)


def _between(quantiles: dict[str, float | None]) -> str:
    low, high = (quantiles[q] for q in ("0.05", "0.95"))
    first = "never" if low is None else str(_whole(low))
    last = "never" if high is None else str(_whole(high))
    return first if first == last else f"{first}-{last[2:] if last[:2] == first[:2] else last}"


def _whole(moment: float) -> int:
    """The first whole year at or after a moment, which bisection has found to half a minute."""
    return math.ceil(moment - 1e-5)


def _notes(study: Study, say: object) -> None:
    from fedsim.pricing import Technique
    from fedsim.units import format_bytes, format_j

    assert callable(say)
    grid, limits = study.grid, study.grid.limits
    notes = []
    if study.draws is None:
        notes.append("First whole years; green: as sold, or in the trend's own first year.")
    else:
        notes.append(f"From the 5% to the 95% quantile of {study.draws:,} draws of growth.")
    if limits.reference is not None:
        how = "in its fastest technique that learns the same" if grid.best else "in the same technique"
        notes.append(f"Speed and memory: as {limits.reference.title} as sold, {how}.")
    if limits.within_s is not None:
        notes.append(f"Days: the procedure within {limits.within_s / 86_400:g} days.")
    if limits.budget_j is not None:
        notes.append(f"Energy: the procedure with {format_j(limits.budget_j)} a client.")
    procedure = grid.procedure
    notes.append(
        f"Procedure: {procedure.rounds} rounds of {procedure.epochs} local "
        + ("epoch" if procedure.epochs == 1 else "epochs")
        + f" on {procedure.hours:.3g} h of speech a client, one after another;"
        " communication and waiting are not counted."
    )
    if limits.battery_share is not None:
        notes.append(
            f"Battery: a round with {100 * limits.battery_share:g}% of it, on devices that have one."
        )
    held = {
        (r.answer.question.background.profile, r.answer.question.background.held_bytes) for r in study.results
    }
    programs = ", ".join(f"{format_bytes(size)} ({name})" for name, size in sorted(held))
    notes.append(f"Other programs hold {programs}.")
    techniques = _techniques(study)
    if len(techniques) == 1 and (grid.best or techniques != [Technique().in_words()]):
        notes.append(f"Technique: {techniques[0]}.")
    from rich.markup import escape

    say()
    for note in notes:
        say(f"[dim]{escape(note)}[/dim]")
