"""``fedsim sweep``: many scenarios that differ in a few keys, and one table of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedsim.cli.complete import SWEEP
from fedsim.cli.outside import allow_outside
from fedsim.cli.plugin import plugin
from fedsim.errors import ScenarioError, going_on
from fedsim.words import plural

if TYPE_CHECKING:
    from fedsim.sweeps import Conclusion
    from fedsim.sweeps.executors import Executor


@click.command(name="sweep", short_help="Run a scenario at many points and write one table.")
@click.argument("file", required=False, shell_complete=SWEEP)
@click.option("--out", type=click.Path(path_type=Path), help="Sweep directory [default: runs/<name>].")
@click.option(
    "--workers", type=click.IntRange(1, 512), default=2, show_default=True, help="Points computed at once."
)
@click.option(
    "--executor",
    type=click.Choice(["processes", "ray"]),
    default="processes",
    show_default=True,
    help="Where points are computed; the result does not depend on it.",
)
@click.option("--address", help="A Ray cluster to join, as host:port [default: one on this machine].")
@click.option(
    "--resume", "resume_dir", type=click.Path(path_type=Path), help="Go on with an interrupted sweep."
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one key of the scenario."
)
@click.option(
    "--draws",
    type=click.IntRange(0, 10_000),
    help="Repeats of each point's clock under drawn speeds of its devices, for intervals; 0: none"
    "  [default: 10].",
)
@allow_outside
@plugin
@click.option("--no-cache", is_flag=True, help="Use and keep nothing of other sweeps.")
@click.option("--json", "as_json", is_flag=True, help="Print what it came to as JSON.")
@click.option("--quiet", is_flag=True, help="Print the path of the sweep directory and nothing else.")
def command(
    file: str | None,
    out: Path | None,
    workers: int,
    executor: str,
    address: str | None,
    resume_dir: Path | None,
    overrides: tuple[str, ...],
    draws: int | None,
    outside: bool,
    no_cache: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Run the sweep in FILE: a scenario with a sweep block, or a name from scenarios/sweeps/.

    Writes a run directory for each point, sweep.parquet with a row a point, and pictures. A point
    that fails is recorded and the rest goes on; the exit code is then 1. Columns interval.*.low and .high
    are the 90% intervals of figures that rest on devices nobody measured.
    """
    import fedsim.sweeps as sweep
    from fedsim.report import sweeps as pictures
    from fedsim.scenario.file_access import allowed
    from fedsim.scenario.sweep import load
    from fedsim.simulation.repeats import FEWEST
    from fedsim.sweeps.directory import go_on
    from fedsim.sweeps.progress import choose
    from fedsim.sweeps.store import Store

    if (file is None) == (resume_dir is None):
        raise ScenarioError("give either a sweep file or --resume DIR to go on with a sweep")
    if address is not None and executor != "ray":
        raise ScenarioError("--address is the address of a Ray cluster; give --executor ray with it")
    store = None if no_cache else Store()

    def make() -> Executor:
        return _executor(executor, workers, address)

    if executor == "ray":  # before anything is written: is there one?
        from fedsim.sweeps import ray_cluster

        ray_cluster.require(address)
    progress = choose(quiet or as_json)
    try:
        if resume_dir is not None:
            if out is not None or overrides or draws is not None:
                raise ScenarioError(
                    "--resume goes on with the sweep as it is; --out, --set and --draws do not apply"
                )
            found = sweep.resume(resume_dir, make, store=store, progress=progress, outside=outside)
        else:
            assert file is not None
            asked = load(file, overrides, allowed(outside))
            typed = ["fedsim", *sys.argv[1:]]
            found = sweep.start(
                asked,
                out,
                make,
                store=store,
                progress=progress,
                command=typed,
                draws=FEWEST if draws is None else draws,
            )
    finally:
        progress.end()
    with going_on(go_on(found.directory), found.directory):
        made = pictures.write(found.directory)
    if quiet:
        click.echo(found.directory)
    elif as_json:
        said = {"directory": str(found.directory), "points": found.points, "failed": found.failed}
        click.echo(json.dumps({**said, **found.reuse(), "figures": [str(path) for path in made]}, indent=1))
    else:
        _show(found, len(made))
    return 1 if found.failed else 0


def _executor(kind: str, workers: int, address: str | None) -> Executor:
    if kind == "ray":
        from fedsim.sweeps.ray_cluster import RayCluster

        return RayCluster(workers, address)
    from fedsim.sweeps.here import Here
    from fedsim.sweeps.processes import Processes

    return Processes(workers) if workers > 1 else Here()


def _show(found: Conclusion, pictures: int) -> None:
    from fedsim.sweeps.directory import go_on
    from fedsim.units import format_duration

    parts = [f"{found.computed} computed"]
    parts += [f"{found.stored} known from an earlier sweep"] if found.stored else []
    parts += [f"{found.kept} kept from before"] if found.kept else []
    click.echo(f"{plural(found.points, 'point')} in {format_duration(found.wall_s)}: {', '.join(parts)}")
    if found.learned_rounds or found.recalled_rounds:
        click.echo(
            f"rounds of real training: {found.learned_rounds} trained, {found.recalled_rounds} known "
            "from a point where the same clients delivered"
        )
    if found.failed:
        click.echo(f"{found.failed} failed; the column message says why; {go_on(found.directory)}")
    click.echo(
        f"table: {found.directory / 'sweep.parquet'}; pictures: {pictures}, in {found.directory / 'figures'}"
    )
