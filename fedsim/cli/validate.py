"""``fedsim validate``: check a scenario and say what it will need."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from fedsim.cli.complete import SCENARIO
from fedsim.cli.outside import allow_outside
from fedsim.cli.plugin import plugin
from fedsim.words import plural

if TYPE_CHECKING:
    from fedsim.simulation.host import LearningOutlook


@click.command(name="validate", short_help="Check a scenario and say what it will need.")
@click.argument("scenario", shell_complete=SCENARIO)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one key of the scenario."
)
@click.option(
    "--host",
    "hosts",
    multiple=True,
    help="Device that would train for real, a name or a file; repeatable [default: server.device].",
)
@allow_outside
@plugin
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    scenario: str, overrides: tuple[str, ...], hosts: tuple[str, ...], outside: bool, as_json: bool
) -> None:
    """Check SCENARIO and show, device by device, who fits and how long a round takes.

    Times are medians over clients, each alone on its link; footprints leave other programs out. If
    models are really trained, also what that will ask of the machine that does it; the data to learn
    from need not be there yet, and are looked through if they are, as a run does before its first round.
    Weights to begin with (learning.init) are held against the model.
    """
    from fedsim.cli.outlook_text import who_fits
    from fedsim.errors import about, one_line
    from fedsim.printing import put
    from fedsim.scenario import load
    from fedsim.scenario.file_access import allowed
    from fedsim.simulation import compose, examples
    from fedsim.simulation.host import check_data, check_weights, learning_outlook
    from fedsim.simulation.outlook import outlook

    loaded = load(scenario, overrides, allowed(outside))
    with about(loaded.file):
        composition = compose(loaded.scenario)
        rows = outlook(composition)
    learning = loaded.scenario.learning
    differs = learning is not None and learning.baseline is None
    clock = examples.spread(examples.on_the_clock(composition)) if differs else None
    real = learning_outlook(loaded.scenario, hosts)
    begins: list[str] = []
    if learning is not None:
        from rich.console import Console

        console = Console(stderr=True, highlight=False)
        with about(loaded.file), console.status("looking through the data that are learned from"):
            check_data(loaded.scenario)
            begins = check_weights(loaded.scenario)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "name": loaded.scenario.name,
                    "devices": [asdict(row) for row in rows],
                    "learning": [asdict(row) for row in real],
                    "examples": None if clock is None else {"clock": clock},
                    "init": begins,
                },
                indent=1,
            )
        )
        return
    click.echo(f"{one_line(loaded.file)}: a valid scenario")
    put(who_fits(rows, each_way=True))
    if real:
        _show_learning(real)
    for sentence in begins:
        click.echo(f"{sentence}.")
    if learning is not None and clock is not None:
        click.echo(
            f"On the simulated clock a client's round is {examples.in_words(clock)} examples; really trained "
            f"is {examples.rule(learning)} on what it holds of the learner's own data, and updates weigh by"
            " how many examples that goes through."
        )


def _show_learning(rows: list[LearningOutlook]) -> None:
    from fedsim.printing import Column, Table, put
    from fedsim.units import format_bytes, format_duration

    first = rows[0]
    table = Table(
        Column("machine", words=True),
        Column("a step", spare=2),
        "training",
        Column("testing", spare=1),
        "a worker",
        "has",
    )
    for row in rows:
        table.row(
            row.machine,
            f"{format_duration(row.step_s)} ({row.precision})",
            format_duration(row.training_s),
            format_duration(row.evaluation_s + row.downstream_s),
            format_bytes(row.worker_bytes),
            format_bytes(row.room_bytes) if row.fits else f"only {format_bytes(row.room_bytes)}",
        )
    disk = "" if first.disk_bytes is None else f" and {format_bytes(first.disk_bytes)} of disk"
    put(
        f"\nReal training of {first.model}, {plural(first.steps, 'optimizer step')}, on:",
        table,
        f"Beside the workers: {format_bytes(first.shared_bytes)} of main memory{disk}.",
    )
    if first.corpus_missing is not None:
        click.echo(
            f"The corpus {first.corpus_missing} is not there; say where it is:"
            " --set learning.corpus.path=PATH"
        )
