"""``fedsim describe``: in words and figures, what a scenario will do before it does it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from fedsim.cli.complete import SCENARIO
from fedsim.cli.outside import allow_outside
from fedsim.cli.plugin import plugin
from fedsim.words import plural, verb

if TYPE_CHECKING:
    from fedsim.printing import Table
    from fedsim.scenario import Scenario
    from fedsim.scenario.model import Training
    from fedsim.simulation.forecast import Forecast


@click.command(name="describe")
@click.argument("scenario", shell_complete=SCENARIO)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one key of the scenario."
)
@allow_outside
@plugin
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(scenario: str, overrides: tuple[str, ...], outside: bool, as_json: bool) -> None:
    """Say what SCENARIO will do: who is in the fleet, who fits, how long rounds take, what they cost.

    The first rounds are simulated for about three seconds, without training; what is left of them is
    carried on at the pace of the simulated clock, the time between rounds included. Intervals (90%) say
    how far times may be off where nobody measured a device; they take about three seconds more.
    """
    from rich.text import Text

    from fedsim.cli.outlook_text import who_fits
    from fedsim.errors import about
    from fedsim.printing import put
    from fedsim.scenario import load
    from fedsim.scenario.file_access import allowed
    from fedsim.simulation import compose
    from fedsim.simulation.forecast import forecast
    from fedsim.simulation.outlook import outlook
    from fedsim.simulation.repeats import FEWEST

    loaded = load(scenario, overrides, allowed(outside))
    with about(loaded.file):
        composition = compose(loaded.scenario)
    rows, seen = outlook(composition), forecast(composition, draws=FEWEST)
    if as_json:
        devices = [asdict(row) for row in rows]
        click.echo(json.dumps({"name": loaded.scenario.name, "devices": devices, "forecast": asdict(seen)}))
        return
    said = loaded.scenario
    lines = _words(seen, said)
    put(
        Text(said.name, style="bold"),
        said.description,
        _who(said),
        *_techniques(said),
        _mix(said),
        "",
        who_fits(rows, each_way=False),
        *lines,
    )


def _who(scenario: Scenario) -> str:
    from fedsim.cli.outlook_text import work
    from fedsim.engine.completion import Buffered, Deadline, Quorum, WaitAll
    from fedsim.units import format_duration

    training, rounds, clients = scenario.training, scenario.rounds, scenario.fleet.clients
    close = f"each closes by {rounds.close.name}"
    if isinstance(rounds.close, WaitAll):
        close = "each waits for all"
    elif isinstance(rounds.close, Deadline):
        close = f"each closes after {format_duration(rounds.close.after)}"
    elif isinstance(rounds.close, Quorum):
        close = "each closes when enough have delivered"
    elif isinstance(rounds.close, Buffered):
        close = "every update makes a new model"
        if rounds.close.buffer > 1:
            close = f"every {rounds.close.buffer} updates make a new model"
    on = f", each on {work(scenario)}," if work(scenario) else ""
    afresh = "; clients start afresh each time" if training.start == "cold" else ""
    return (
        f"{plural(clients, 'client')} {verb(clients, 'train')} {training.model} ({training.precision}, "
        f"batches of {training.batch_size}{_trained(training)}){on} in {plural(rounds.count, 'round')} "
        f"of {rounds.cohort:,}, chosen by {rounds.select.name}; {close}; "
        f"aggregated by {rounds.aggregate.name}{afresh}."
    )


def _trained(training: Training) -> str:
    """What of the model trains, where that is not all of it."""
    from fedsim.scenario.technique import name_of, technique, way_of

    said = name_of(way_of(technique(training)))
    return "" if said == "all" else f", {said}"


def _techniques(scenario: Scenario) -> list[str]:
    """The stages, and what clients fall back on, where there are any."""
    from fedsim.scenario.model import stage_starts
    from fedsim.scenario.technique import in_words

    training, lines = scenario.training, []
    starts = [*stage_starts(training.schedule), scenario.rounds.count]
    for number, stage in enumerate(training.schedule):
        first, last = starts[number] + 1, starts[number + 1]
        when = f"round {first}" if first == last else f"rounds {first:,} to {last:,}"
        lines.append(f"  {when}: {in_words(stage) or 'as the scenario says'}")
    if training.shallower:
        tried = "; else ".join(in_words(less) or "as the scenario says" for less in training.shallower)
        lines.append(f"  where memory is short at dispatch: {tried}")
    return lines


def _mix(scenario: Scenario) -> Table:
    from fedsim.printing import Column, Table
    from fedsim.scenario.technique import in_words

    table = Table(Column(words=True), Column(words=True), Column(words=True))
    for entry in scenario.fleet.mix:
        life = [
            entry.link,
            entry.availability.name if entry.availability.name != "always" else "",
            f"memory of a {entry.pressure.name}" if entry.pressure.name in ("phone", "laptop") else "",
            "on battery" if entry.battery is not None else "",
            in_words(entry.training),
        ]
        table.row(f"  {entry.share:.0%}", entry.device, ", ".join(word for word in life if word))
    return table


def _words(seen: Forecast, scenario: Scenario) -> list[str]:
    from fedsim.report.text import share
    from fedsim.units import DAY_S, format_bytes, format_duration, format_j

    if not seen.looked_at:
        return [f"No round takes place: {seen.ended}."]
    whole = seen.looked_at == seen.rounds
    first = f"{seen.looked_at:,} of {plural(seen.rounds, 'round')}, the first {format_duration(seen.clock_s)}"
    some = "all rounds" if whole else first
    total = sum(seen.outcomes.values())
    fates = ", ".join(
        f"{count / total:.0%} {_FATES[name]}"
        for name, count in sorted(seen.outcomes.items(), key=lambda item: -item[1])
    )
    lost = [
        f"{device} ({counts['oom'] / sum(counts.values()):.0%})"
        for device, counts in seen.by_device.items()
        if counts.get("oom")
    ]
    never = [device for device, counts in seen.by_device.items() if counts and not counts.get("completed")]
    wasted = seen.wasted_j / seen.energy_j if seen.energy_j else 0.0
    idle = 1.0 - seen.round_s * seen.looked_at / seen.clock_s if seen.clock_s else 0.0
    between = f", {share(idle)} of it waiting for clients between rounds" if idle >= 0.005 else ""
    lines = [
        f"\nFrom {some}, simulated just now:",
        f"  time      a round takes {format_duration(seen.round_s)}, at most"
        f" {format_duration(seen.longest_s)}; {plural(seen.rounds, 'round')} {verb(seen.rounds, 'take')}"
        f" {'' if whole else 'about '}{format_duration(seen.end_s)}{between}",
        *_off(seen),
        f"  clients   {fates}",
        f"  memory    {'runs out on ' + ', '.join(lost) if lost else 'suffices everywhere'}",
        f"  bytes     {format_bytes(seen.downloaded_bytes)} out and {format_bytes(seen.uploaded_bytes)} back"
        f" a round; {format_bytes((seen.downloaded_bytes + seen.uploaded_bytes) * seen.rounds)} in all",
        f"  energy    {format_j(seen.energy_j)} a round, {wasted:.0%} of it for nothing;"
        f" {format_j(seen.energy_j * seen.rounds)} in all",
        f"  this run  about {format_duration(seen.real_s * seen.rounds)} here, without real training",
    ]
    if scenario.learning is not None and scenario.learning.init is not None:
        there = [path for path in scenario.learning.begins_with() if path.suffix != ".json"]
        lines.append(f"  weights   begin as in {', '.join(map(str, there))}")
    if never:
        lines.insert(3, f"            nobody completes on {', '.join(never)}")
    moody = any(e.availability.name != "always" or e.battery is not None for e in scenario.fleet.mix)
    if moody and not whole and seen.clock_s < DAY_S:
        lines.append(
            "  Less than a day was seen: what differs between day and night is not in these figures."
        )
    if seen.rounds < scenario.rounds.count:
        lines.append(f"  It ends after {plural(seen.rounds, 'round')}: {seen.ended}.")
    return lines


def _off(seen: Forecast) -> list[str]:
    """How far the figures may be off; nothing where no draw was made."""
    from fedsim.report.text import between
    from fedsim.units import format_duration, format_j

    found = vars(seen)
    parts = [
        between(found, "round_s", format_duration),
        between(found, "end_s", format_duration),
        between(found, "energy_j", format_j),
    ]
    if not all(parts):
        return []
    level, draws = (seen.interval["end_s"][key] for key in ("level", "draws"))
    return [
        f"  interval  a round {parts[0]}, all {parts[1]}, energy a round {parts[2]}"
        f" ({level:.0%}, by {draws} draws of the devices' speeds)"
    ]


_FATES = {
    "completed": "complete",
    "late": "come too late",
    "oom": "run out of memory",
    "offline": "go offline",
    "battery": "run out of battery",
    "rejected": "are rejected",
    "failed": "crash",
}
