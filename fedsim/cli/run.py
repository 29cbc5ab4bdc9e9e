"""``fedsim run``: a scenario becomes a run directory."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click

from fedsim.cli.complete import SCENARIO
from fedsim.cli.drawn import drawn
from fedsim.cli.outside import allow_outside
from fedsim.cli.plugin import plugin
from fedsim.errors import RunError, ScenarioError, going_on


@click.command(name="run", short_help="Run a scenario and write a run directory.")
@click.argument("scenario", required=False, shell_complete=SCENARIO)
@click.option("--out", type=click.Path(path_type=Path), help="Run directory [default: runs/<name>].")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Use this seed instead of the scenario's.")
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=2,
    show_default=True,
    help="Processes for real training; the result does not depend on it.",
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one key of the scenario."
)
@click.option(
    "--resume", "resume_dir", type=click.Path(path_type=Path), help="Go on with an interrupted run."
)
@click.option(
    "--engine",
    type=click.Choice(["built-in", "flower"]),
    default="built-in",
    show_default=True,
    help="What trains the clients; flower needs Flower (the guide says how to install it) and gives the same"
    " weights.",
)
@drawn
@allow_outside
@plugin
@click.option("--no-report", is_flag=True, help="Write the data only, no figures and no report.")
@click.option("--quiet", is_flag=True, help="Print the path of the run directory and nothing else.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the path and the summary as JSON and nothing else."
)
def command(
    scenario: str | None,
    out: Path | None,
    seed: int | None,
    workers: int,
    overrides: tuple[str, ...],
    resume_dir: Path | None,
    engine: str,
    draws: int | None,
    outside: bool,
    no_report: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Run SCENARIO: a YAML file, or a name from scenarios/ such as quickstart.

    Writes the run directory, then its figures and report.html, and prints a summary. Intervals (90%) say
    how far times may be off where nobody measured a device: after the run its clock is repeated under
    drawn speeds of the devices, without learning. Learned rounds keep their order, memory is not drawn.
    """
    import fedsim.simulation.execute as execute
    from fedsim.report import build, terminal
    from fedsim.report.digest import digest
    from fedsim.results import load as load_run
    from fedsim.scenario import load
    from fedsim.scenario.file_access import allowed
    from fedsim.simulation.progress import choose

    if (scenario is None) == (resume_dir is None):
        raise ScenarioError("give either a scenario to run or --resume DIR to go on with one")
    progress = choose(quiet or as_json)
    if resume_dir is not None:
        if out or seed is not None or overrides or draws is not None:
            raise ScenarioError(
                "--resume goes on with the run as it is; --out, --seed, --set and --draws do not apply"
            )
        goes_on = partial(
            execute.resume, resume_dir, workers=workers, progress=progress, access=allowed(outside)
        )
        try:
            directory = _on(engine, workers, goes_on)
        except RunError:
            if no_report or not _lacks_its_report(resume_dir):
                raise
            directory = resume_dir
    else:
        assert scenario is not None
        changes = [*overrides, *([f"seed={seed}"] if seed is not None else [])]
        loaded = load(scenario, changes, allowed(outside))
        said = ["fedsim", *sys.argv[1:]]
        directory = _on(
            engine,
            workers,
            partial(execute.run, loaded, out, workers=workers, progress=progress, command=said, draws=draws),
        )
    made = None
    if not no_report:
        way_on = f"the run is finished; make its report with: fedsim report {shlex.quote(str(directory))}"
        with going_on(way_on, directory):
            made = build.write(directory)
    if as_json:
        click.echo(json.dumps({"run": str(directory), "summary": load_run(directory).summary}, indent=1))
    elif quiet:
        click.echo(directory)
    elif made is None:
        terminal.show(digest(load_run(directory)))
    else:
        terminal.show(made.digest, made.html)


def _lacks_its_report(run: Path) -> bool:
    """Whether a run is finished, and only its report is not: it was stopped while that was made."""
    return (run / "summary.json").is_file() and not (run / "report.html").is_file()


def _on(engine: str, workers: int, do: Callable[..., Path]) -> Path:
    """The run directory of ``do``, which takes ``adapt``."""
    if engine == "built-in":
        return do()
    from fedsim.flower.engine import on_flower

    return on_flower(lambda adapt: do(adapt=adapt), workers)
