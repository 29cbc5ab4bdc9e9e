"""``fedsim validate``: check a scenario and say what it will need."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from fedsim.cli.complete import SCENARIO


@click.command(name="validate", short_help="Check a scenario and say what it will need.")
@click.argument("scenario", shell_complete=SCENARIO)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one key of the scenario."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(scenario: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Check SCENARIO and show, device by device, who fits and how long a round takes.

    Times are medians over clients, each alone on its link; footprints leave other programs out.
    """
    from rich.console import Console
    from rich.table import Table

    from fedsim.run import compose
    from fedsim.run.outlook import outlook
    from fedsim.scenario import load
    from fedsim.units import format_bytes, format_duration

    loaded = load(scenario, overrides)
    rows = outlook(compose(loaded.scenario))
    if as_json:
        click.echo(
            json.dumps({"name": loaded.scenario.name, "devices": [asdict(row) for row in rows]}, indent=1)
        )
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("device", no_wrap=True, overflow="ellipsis", max_width=20)
    for heading in ("clients", "fit", "needs", "has", "download", "training", "upload"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.device,
            f"{row.clients:,}",
            f"{row.fit:.0%}",
            format_bytes(row.footprint_bytes),
            format_bytes(row.room_bytes),
            format_duration(row.download_s),
            format_duration(row.compute_s),
            format_duration(row.upload_s),
        )
    console = Console(highlight=False)
    console.print(f"{loaded.file}: a valid scenario", soft_wrap=True)
    console.print(table)
