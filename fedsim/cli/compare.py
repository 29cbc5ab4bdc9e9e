"""``fedsim compare RUN RUN ...``: runs beside each other."""

from __future__ import annotations

import json
from pathlib import Path

import click

from fedsim.errors import InputError


@click.command(name="compare", short_help="Lay runs over each other: time and energy to a target.")
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path), metavar="RUN RUN ...")
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="METRIC=VALUE",
    help="What to reach: loss=2.9, test.wer=45%, updates=500 or rounds=20; may be repeated "
    "[default: the best that every run reaches].",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write compare.html and pictures into this folder."
)
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON and nothing else.")
@click.option("--quiet", is_flag=True, help="With --out: print the path of the page and nothing else.")
def command(
    runs: tuple[Path, ...], targets: tuple[str, ...], out: Path | None, as_json: bool, quiet: bool
) -> None:
    """Compare two or more RUNs: finished run directories, such as runs/quickstart.

    Says when each run reached a target and what energy that took, how their client-rounds ended, and
    what differs between their scenarios. With --out also a page with the curves on one clock.
    """
    from fedsim.report.compare import build, terminal
    from fedsim.report.compare.answer import answer, compare

    if quiet and out is None:
        raise InputError("--quiet prints the path of the page; give --out DIR with it")
    compared = compare(runs, targets)
    page, figures = build.write(compared, out) if out is not None else (None, [])
    if quiet:
        click.echo(page)
    elif as_json:
        paths = {} if page is None else {"page": str(page), "figures": [str(path) for path in figures]}
        click.echo(json.dumps({**answer(compared), "paths": paths}, indent=1))
    else:
        terminal.show(compared, page)
