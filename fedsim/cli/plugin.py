"""``--plugin FILE``: choices of one's own, from a Python file."""

from __future__ import annotations

from pathlib import Path

import click


def _load(_context: click.Context, _parameter: click.Parameter, files: tuple[Path, ...]) -> None:
    from fedsim import plugins

    for file in files:
        plugins.load(file)


plugin = click.option(
    "--plugin",
    multiple=True,
    expose_value=False,
    is_eager=True,
    callback=_load,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Run this Python file and know its policies, rules, models and tasks; may be repeated.",
)
