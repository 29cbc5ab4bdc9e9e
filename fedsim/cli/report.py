"""``fedsim report RUN``: figures, page and timeline again, and the summary in the terminal."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), help="Put the report here; default: into the run directory."
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON instead of tables.")
@click.option("--quiet", is_flag=True, help="Print the path of the page and nothing else.")
def command(run: Path, out: Path | None, as_json: bool, quiet: bool) -> None:
    """Make the figures and the report of a run again, finished or not.

    RUN is a run directory, such as runs/quickstart.
    """
    from fedsim.report import build, terminal

    made = build.write(run, out)
    if quiet:
        click.echo(made.html)
    elif as_json:
        paths = {
            "report": str(made.html),
            "timeline": str(made.timeline),
            "figures": [str(path) for path in made.figures],
        }
        click.echo(json.dumps({**made.digest.summary, "paths": paths}, indent=2))
    else:
        terminal.show(made.digest, made.html)
