"""How ``fedsim feasible`` prints its answer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fedsim.words import plural

if TYPE_CHECKING:
    from rich.text import Text

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
    from rich.text import Text

    from fedsim.printing import Column, Table, put

    several = len(_techniques(study)) > 1
    for trend in study.trends:
        results = study.of(trend)
        names = list(dict.fromkeys(name for result in results for name in result.answer.findings))
        since = "its release" if trend.counted_from is None else str(trend.counted_from)
        years = (Column(_WORDS[name], spare=1) for name in names)
        table = Table(Column(words=True), *years, "all", Column("binds", words=True))
        device = ""
        for result in results:
            if result.answer.question.device.name != device:
                device = result.answer.question.device.name
                table.heading(device)
            table.row(*_row(result, names, several))
        put(Text.assemble("\n", (trend.title, "bold"), "  ", (f"from {since}", "dim")), table)
    _notes(study)


def _techniques(study: Study) -> list[str]:
    return list(dict.fromkeys(result.answer.question.technique.in_words() for result in study.results))


def _row(result: Result, names: list[str], with_technique: bool) -> list[str | Text]:
    from rich.text import Text

    found, question = result.answer, result.answer.question
    label = f"  {question.trace.name} {question.batch_in_words}"
    if with_technique:
        label += f"\n    {question.technique.in_words()}"
    cells: list[str | Text] = [label]
    last: Text | str
    if result.spread is None:
        last = _year(None, 0) if found.year is None else Text(str(found.year), style="bold")
        last.append(_perhaps(found.year, found.years), style="dim")
        held = [found.findings.get(name) for name in names]
        cells += [
            _year(one.year, found.start).append(_perhaps(one.year, one.years), style="dim") if one else ""
            for one in held
        ]
        binding = found.binding
        binds = _WORDS["as_sold" if binding is None else binding.criterion.name]
    else:
        drawn = result.spread
        cells += [_between(drawn.quantiles(drawn.moments[n])) if n in drawn.moments else "" for n in names]
        last = _between(drawn.quantiles(drawn.everything))
        name, share = max(drawn.binding().items(), key=lambda item: item[1])
        binds = f"{_WORDS[name]} {100 * share:.0f}%"
    return [*cells, last, binds]


def _year(year: int | None, start: int) -> Text:
    from rich.text import Text

    if year is None:
        return Text("never", style="red")
    return Text(str(year), style="green" if year == start else "")


def _perhaps(year: int | None, ends: tuple[int | None, int | None]) -> str:
    """Between which years it is, if the device's speed makes a difference: `` (2025-29)``."""
    if set(ends) == {year}:
        return ""
    first, last = ("never" if end is None else str(end) for end in ends)
    return f" ({first}-{last[2:] if last[:2] == first[:2] else last})"


def _between(quantiles: dict[str, float | None]) -> str:
    low, high = (quantiles[q] for q in ("0.05", "0.95"))
    first = "never" if low is None else str(_whole(low))
    last = "never" if high is None else str(_whole(high))
    return first if first == last else f"{first}-{last[2:] if last[:2] == first[:2] else last}"


def _whole(moment: float) -> int:
    """The first whole year at or after a moment, which bisection has found to half a minute."""
    return math.ceil(moment - 1e-5)


def _notes(study: Study) -> None:
    from rich.text import Text

    from fedsim.pricing import Technique
    from fedsim.printing import put
    from fedsim.units import format_bytes, format_j

    grid, limits = study.grid, study.grid.limits
    notes = []
    if study.draws is None:
        notes.append("First whole years; green: as sold, or in the trend's own first year.")
        if any(set(f.years) != {f.year} for r in study.results for f in r.answer.findings.values()):
            notes.append("In brackets: if the device is as fast, or as slow, as it may be (90% interval).")
    else:
        notes.append(f"From the 5% to the 95% quantile of {plural(study.draws, 'draw')} of growth.")
    if limits.reference is not None:
        how = "in its fastest technique that learns the same" if grid.best else "in the same technique"
        notes.append(f"Speed and memory: as {limits.reference.title} as sold, {how}.")
    if limits.within_s is not None:
        notes.append(f"Days: the procedure within {plural(limits.within_s / 86_400, 'day')}.")
    if limits.budget_j is not None:
        notes.append(f"Energy: the procedure with {format_j(limits.budget_j)} a client.")
    procedure = grid.procedure
    work = [
        *([f"{procedure.hours:.3g} h of speech"] if grid.on_speech else []),
        *([plural(procedure.examples, "example")] if grid.on_others else []),
    ]
    notes.append(
        f"Procedure: {plural(procedure.rounds, 'round')} of {plural(procedure.epochs, 'local epoch')}"
        f" on {' or '.join(work)} a client, one after another;"
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
    put("", *(Text(note, style="dim") for note in notes))
