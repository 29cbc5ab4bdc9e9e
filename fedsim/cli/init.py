"""``fedsim init``: write a first scenario, every key explained."""

from __future__ import annotations

import shlex
from pathlib import Path

import click


@click.command(name="init")
@click.argument("file", type=click.Path(path_type=Path), default="my-fleet.yaml")
@click.option("--learning", is_flag=True, help="With real training, not only its time and memory.")
@click.option("--quiet", is_flag=True, help="Print nothing.")
def command(file: Path, learning: bool, quiet: bool) -> None:
    """Write a commented scenario to FILE (my-fleet.yaml by default), to be edited.

    An existing file is never overwritten.
    """
    from fedsim.errors import ScenarioError
    from fedsim.scenario.example import example
    from fedsim.words import plain_name

    name = plain_name(file.stem, "my-fleet")
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(example(name, learning, shlex.quote(str(file))))
    except FileExistsError:
        raise ScenarioError("exists already; give another name", file=file) from None
    except OSError as fault:
        raise ScenarioError(f"cannot be written: {fault.strerror}", file=file) from None
    if not quiet:
        click.echo(f"wrote {file}; next: fedsim describe {shlex.quote(str(file))}")
